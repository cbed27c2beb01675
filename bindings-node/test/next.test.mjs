// What a program needs whose modules are loaded more than once, as Next.js does.

import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { test } from 'node:test'

import { createHandlers, Gateway, sharedGateway } from '../index.js'
import { withMcpGateway } from '../next.js'

const require = createRequire(import.meta.url)

/** The package as another instance of its modules has it. */
function again() {
  for (const file of Object.keys(require.cache)) if (file.includes('/lib/') || file.endsWith('/index.js')) delete require.cache[file]
  return require('../index.js')
}

test('the shared gateway is one, also for modules that are loaded twice', async () => {
  let opened = 0
  const open = () => ((opened += 1), Gateway.open())
  const other = again()
  assert.notEqual(other.Gateway, Gateway)
  const [one, two] = await Promise.all([sharedGateway(open), other.sharedGateway(open)])
  assert.ok(one === two && opened === 1)
  const { GET } = other.createHandlers(sharedGateway(open), { expose: ['health'] })
  assert.equal((await GET(new Request('http://localhost/health', { headers: { host: 'localhost' } }))).status, 200)
  await one.close()
})

test('a shared gateway that could not be opened is opened anew for who asks next', async () => {
  const { sharedGateway } = again()
  delete globalThis[Symbol.for('mcp-registry-gateway')]
  await assert.rejects(sharedGateway(() => Gateway.open({ config: { nonsense: 1 } })), { kind: 'invalid_params' })
  const gateway = await sharedGateway(() => Gateway.open())
  assert.equal((await gateway.list()).total, 0)
  await gateway.close()
})

test('handlers are made before the gateway is open', async () => {
  const gateway = Gateway.open()
  const { GET } = createHandlers(gateway, { expose: ['health'] })
  assert.equal((await GET(new Request('http://localhost/health', { headers: { host: 'localhost' } }))).status, 200)
  await (await gateway).close()
})

test('the configuration of Next.js gets the package beside what it has', () => {
  const config = withMcpGateway({ reactStrictMode: true, serverExternalPackages: ['sharp'] })
  assert.deepEqual(config, { reactStrictMode: true, serverExternalPackages: ['sharp', 'mcp-registry-gateway'] })
})
