// The declared types are those of the documents that really come: the compiler is given answers as literals.

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

import { withFake } from './support.mjs'

const HERE = dirname(fileURLToPath(import.meta.url))

/** One answer of each kind, by the type that it is declared with. */
async function answers() {
  const { gateway } = await withFake({
    config: { auth: { api_keys: true }, outbound: { ports: [9], allow: ['127.0.0.1'] } },
    servers: [{ name: 'child', command: process.execPath, args: ['x'], env: { A: 'b' }, cwd: '/', auto_discover: false, tags: ['t'] }],
  })
  const events = gateway.events()
  const hears = events.next()
  const made = await gateway.register({ name: 'far', endpoint_url: 'http://127.0.0.1:9/mcp', auto_discover: false, weight: 2 })
  const key = await gateway.createKey({ name: 'k', role: 'viewer' })
  const pending = gateway.callTool('wait', {}, { service: 'one' }).catch(() => {})
  while ((await gateway.activeRequests()).requests.length === 0) await new Promise((go) => setImmediate(go))
  const active = await gateway.activeRequests()
  await gateway.cancelRequest(active.requests[0].requestId)
  await pending
  const found = {
    Server: [made, await gateway.get('child'), await gateway.get('one')],
    ServerPage: [await gateway.list({ includeTools: true, includeResources: true })],
    SearchAnswer: [await gateway.search('echo')],
    FoundTools: [await gateway.findTools('echo')],
    Capabilities: [await gateway.capabilities('one')],
    HealthCheck: [await gateway.health('one'), await gateway.health('far')],
    HealthHistory: [await gateway.healthHistory('far')],
    Stats: [await gateway.stats()],
    RouterMetrics: [await gateway.metrics()],
    ActiveRequests: [active],
    NewApiKey: [key, await gateway.rotateKey(key.id)],
    ApiKey: [await gateway.getKey(key.id)],
    ApiKeyPage: [await gateway.listKeys()],
    Tenant: [await gateway.createTenant('acme', { displayName: 'Acme' }), await gateway.updateTenant('acme', { enabled: false }), await gateway.getTenant('acme')],
    TenantList: [await gateway.listTenants()],
    Credential: [await gateway.setCredential('far', { header: 'X-Api-Key', value: 'secret' })],
    CredentialList: [await gateway.listCredentials('far')],
    AuditPage: [await gateway.audit({ limit: 2 }), await gateway.audit({ action: 'credential.set' })],
    AuditChain: [await gateway.verifyAudit()],
    Identity: [await gateway.authenticate(`Bearer ${key.key}`), await gateway.authorize('tools.call')],
    ToolResult: [await gateway.callTool('echo', { text: 'x' }, { service: 'one' })],
    ServerEvent: [(await hears).value],
  }
  for (const [name, change] of [['far', { weight: 3 }], ['child', { weight: 3 }]]) await gateway.update(name, change)
  await gateway.remove('child')
  for (let type; type !== 'server.removed'; ) {
    const { value } = await events.next()
    type = value.type
    found.ServerEvent.push(value)
  }
  await gateway.close()
  return found
}

const compiled = (folder) => spawnSync(process.execPath, [join(HERE, '../node_modules/typescript/lib/tsc.js'), '--project', folder], { encoding: 'utf8' })

test('every answer has the members that its type declares, and no others', async (context) => {
  const folder = mkdtempSync(join(HERE, 'types-'))
  context.after(() => rmSync(folder, { recursive: true }))
  const lines = ["import type * as gateway from '../../index.js'"]
  let number = 0
  for (const [type, values] of Object.entries(await answers())) {
    for (const value of values) lines.push(`export const a${(number += 1)}: gateway.${type} = ${JSON.stringify(value)}`)
  }
  writeFileSync(join(folder, 'answers.ts'), lines.join('\n'))
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ extends: '../../tsconfig.json', files: ['answers.ts'] }))
  const fits = compiled(folder)
  assert.equal(fits.status, 0, fits.stdout)
  assert.ok(number > 20)
  writeFileSync(join(folder, 'answers.ts'), lines.join('\n').replace('"revision"', '"revison"'))
  assert.match(compiled(folder).stdout, /revison/)
})
