import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'

import { Gateway, GatewayError } from '../index.js'
import { eventually, withFake } from './support.mjs'

test('a server is registered, listed, found, changed and removed', async () => {
  const { gateway } = await withFake()
  const made = await gateway.register({ name: 'far', endpoint_url: 'http://127.0.0.1:9/mcp', auto_discover: false })
  assert.equal(made.name, 'far')
  assert.deepEqual((await gateway.list()).servers.map((server) => server.name), ['far', 'one'])
  assert.deepEqual((await gateway.findTools('echo')).servers.map((server) => server.name), ['one'])
  assert.equal((await gateway.search('echo')).results[0].name, 'echo')
  const changed = await gateway.update('far', { weight: 0 }, { revision: made.revision })
  assert.equal(changed.weight, 0)
  await assert.rejects(gateway.update('far', { weight: 1 }, { revision: made.revision }), { kind: 'conflict' })
  await gateway.remove('far')
  await assert.rejects(gateway.get('far'), { name: 'GatewayError', kind: 'not_found' })
  assert.equal((await gateway.stats()).totalServers, 1)
  await gateway.close()
})

test('a tool is called, and its result comes as it was sent', async () => {
  const { gateway } = await withFake()
  for (const [name, options] of [['one__echo', {}], ['echo', { service: 'one' }]]) {
    const result = await gateway.callTool(name, { text: 'hello' }, options)
    assert.equal(result.content[0].text, 'hello')
  }
  assert.deepEqual((await gateway.listTools({ service: 'one' })).tools.map((tool) => tool.name), ['echo', 'wait', 'fail'])
  await gateway.close()
})

test('what goes wrong is a GatewayError with its kind and its place', async () => {
  const { gateway } = await withFake()
  await assert.rejects(gateway.callTool('fail', {}, { service: 'one' }), (error) => {
    assert.ok(error instanceof GatewayError && error instanceof Error)
    assert.deepEqual([error.kind, error.message, error.retryable], ['invalid_params', 'no good', false])
    return true
  })
  await assert.rejects(gateway.register({ name: 'x', endpoint: 1 }), (error) => /endpoint/.test(error.message))
  assert.throws(() => gateway.pick('nobody'), { kind: 'not_found' })
  await assert.rejects(Gateway.open({ config: { server: { prot: 1 } } }), { kind: 'invalid_params' })
  await gateway.close()
  await assert.rejects(gateway.list(), { kind: 'unavailable', context: { reason: 'closed' } })
  await gateway.close()
})

test('an aborted call is rejected with the reason, and its server hears of it', async () => {
  const { gateway, seen } = await withFake()
  const aborting = new AbortController()
  const call = gateway.callTool('wait', {}, { service: 'one', signal: aborting.signal })
  await eventually(() => seen.some((message) => message.method === 'tools/call'))
  const reason = new Error('enough')
  aborting.abort(reason)
  await assert.rejects(call, reason)
  await eventually(() => seen.some((message) => message.method === 'notifications/cancelled'))
  await assert.rejects(gateway.callTool('wait', {}, { signal: AbortSignal.abort(reason) }), reason)
  await gateway.close()
})

test('a deadline is kept', async () => {
  const { gateway } = await withFake()
  await assert.rejects(gateway.callTool('wait', {}, { service: 'one', timeout: 50 }), { kind: 'timeout' })
  await gateway.close()
})

test('a picked server is in flight until it is released, and its failures are counted', async () => {
  const { gateway } = await withFake()
  const id = (await gateway.get('one')).id
  const active = async () => (await gateway.metrics()).metrics[id].activeConnections
  const lease = gateway.pick('one', 'key')
  assert.deepEqual([lease.serverId, lease.name, await active()], [id, 'one', 1])
  lease.failed()
  assert.equal(await active(), 0)
  assert.equal((await gateway.metrics()).metrics[id].failureCount, 1)
  assert.equal(await gateway.pick('one').use(({ name }) => name), 'one')
  await assert.rejects(gateway.pick('one').use(() => { throw new Error('mine') }), /mine/)
  await gateway.close()
})

test('changes are told from the moment on at which somebody listens, until the gateway is closed', async () => {
  const gateway = await Gateway.open()
  const events = gateway.events()
  const first = events.next()
  await gateway.register({ name: 'far', endpoint_url: 'http://127.0.0.1:9/mcp', auto_discover: false })
  assert.match(JSON.stringify((await first).value), /far/)
  const ending = (async () => { for await (const event of events) assert.ok(event) })()
  await gateway.close()
  await ending
  const aborted = await Gateway.open()
  await assert.rejects(aborted.events({ signal: AbortSignal.abort() }).next(), { name: 'AbortError' })
  await aborted.close()
})

test('tenants, credentials, logins and the audit trail are there', async () => {
  const gateway = await Gateway.open({ servers: [{ name: 'far', endpoint_url: 'http://127.0.0.1:9/mcp', auto_discover: false }] })
  await gateway.createTenant('acme')
  await gateway.deleteTenant('acme')
  await assert.rejects(gateway.createTenant('acme'), { kind: 'conflict' })
  await gateway.setCredential('far', { header: 'X-Api-Key', value: 'a-secret' })
  assert.ok(!JSON.stringify(await gateway.listCredentials('far')).includes('a-secret'))
  await gateway.removeCredential('far', 'X-Api-Key')
  assert.deepEqual(await gateway.listCredentials('far'), { credentials: [] })
  await assert.rejects(gateway.beginLogin('far', { redirectUri: 'http://127.0.0.1:9/back' }), { kind: 'bad_upstream' })
  await assert.rejects(gateway.finishLogin({ state: 'x', code: 'y' }), { kind: 'not_found' })
  const { rows } = await gateway.audit({ action: 'credential.remove' })
  assert.equal(rows.length, 1)
  assert.ok((await gateway.verifyAudit()).intact)
  await gateway.close()
})

test('a key stands for its role, and the plain key is shown once', async () => {
  const gateway = await Gateway.open({ config: { auth: { api_keys: true } } })
  const made = await gateway.createKey({ name: 'ci', role: 'viewer' })
  assert.match(made.key, /^mcp_/)
  const who = await gateway.authenticate(`Bearer ${made.key}`)
  assert.equal(who.role, 'viewer')
  await assert.rejects(gateway.authorize('servers.remove', { authorization: `Bearer ${made.key}` }), { kind: 'permission_denied' })
  assert.ok(!JSON.stringify(await gateway.listKeys()).includes(made.key))
  await gateway.revokeKey(made.id)
  await assert.rejects(gateway.authenticate(`Bearer ${made.key}`), { kind: 'unauthenticated' })
  await gateway.close()
})

test('two gateways of one process share nothing', async () => {
  const [a, b] = await Promise.all([Gateway.open(), Gateway.open()])
  await a.register({ name: 'far', endpoint_url: 'http://127.0.0.1:9/mcp', auto_discover: false })
  assert.equal((await b.list()).total, 0)
  await a.close()
  assert.equal((await b.list()).total, 0)
  await b.close()
})

test('what is registered outlives the gateway, and two do not have one database', async (context) => {
  const folder = mkdtempSync(join(tmpdir(), 'gateway-'))
  context.after(() => rmSync(folder, { recursive: true }))
  const options = { url: 'sqlite:gateway.db', dataDir: folder }
  const servers = { mcpServers: { a: { url: 'http://127.0.0.1:9/mcp' } } }
  const first = await Gateway.open({ ...options, servers })
  await assert.rejects(Gateway.open(options), { kind: 'conflict' })
  assert.equal((await first.list()).total, 1)
  await first.close()
  assert.ok(first.isClosed)
  const second = await Gateway.open(options)
  assert.equal((await second.list()).servers[0].name, 'a')
  await second.close()
})

test('a configuration is a file or the settings themselves', async (context) => {
  const folder = mkdtempSync(join(tmpdir(), 'gateway-'))
  context.after(() => rmSync(folder, { recursive: true }))
  const config = join(folder, 'mcp-gateway.toml')
  writeFileSync(config, '[servers.a]\nendpoint_url = "http://127.0.0.1:9/mcp"\nauto_discover = false\n')
  const gateway = await Gateway.open({ config })
  assert.equal((await gateway.list()).total, 1)
  await gateway.close()
})

test('the event loop is free while the gateway works', async () => {
  const { gateway } = await withFake()
  let beats = 0
  const beating = setInterval(() => (beats += 1), 0)
  const calls = Array.from({ length: 200 }, (_, n) => gateway.callTool('echo', { text: String(n) }, { service: 'one' }))
  const results = await Promise.all(calls)
  clearInterval(beating)
  assert.deepEqual(results.map((result) => result.content[0].text), Array.from({ length: 200 }, (_, n) => String(n)))
  assert.ok(beats > 2)
  await gateway.close()
})
