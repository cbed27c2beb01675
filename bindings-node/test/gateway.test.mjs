import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Gateway, GatewayError } from '../index.js'
import { eventually, withFake } from './support.mjs'

test('a server is registered, listed, found, changed and removed', async () => {
  const { gateway } = await withFake()
  const made = await gateway.register({ name: 'far', endpoint_url: 'http://127.0.0.1:9/mcp', auto_discover: false })
  assert.equal(made.name, 'far')
  assert.deepEqual((await gateway.list()).servers.map((server) => server.name), ['far', 'one'])
  assert.deepEqual((await gateway.find({ tools: ['echo'] })).servers.map((server) => server.name), ['one'])
  assert.equal((await gateway.search('echo')).results[0].name, 'echo')
  const changed = await gateway.update('far', { weight: 0 }, { revision: made.revision })
  assert.equal(changed.weight, 0)
  await assert.rejects(gateway.update('far', { weight: 1 }, { revision: made.revision }), { kind: 'conflict' })
  await gateway.remove('far')
  await assert.rejects(gateway.get('far'), { name: 'GatewayError', kind: 'not_found' })
  assert.equal((await gateway.stats()).total_servers, 1)
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
  assert.throws(() => Gateway.open({ config: { server: { prot: 1 } } }), { kind: 'invalid_params' })
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
  await assert.rejects(gateway.callTool('wait', {}, { service: 'one', timeoutSeconds: 0.05 }), { kind: 'timeout' })
  await gateway.close()
})

test('a picked server is in flight until it is released, and its failures are counted', async () => {
  const { gateway } = await withFake()
  const id = (await gateway.get('one')).id
  const active = async () => (await gateway.metrics()).metrics[id].active_connections
  const lease = gateway.pick('one', 'key')
  assert.deepEqual([lease.id, lease.name, await active()], [id, 'one', 1])
  lease.failed()
  lease.release()
  assert.equal(await active(), 0)
  assert.equal((await gateway.metrics()).metrics[id].failure_count, 1)
  assert.equal(await gateway.pick('one').use(({ name }) => name), 'one')
  await assert.rejects(gateway.pick('one').use(() => { throw new Error('mine') }), /mine/)
  await gateway.close()
})

test('changes are told from the moment on at which somebody listens, until the gateway is closed', async () => {
  const gateway = Gateway.open()
  const events = gateway.events()
  const first = events.next()
  await gateway.register({ name: 'far', endpoint_url: 'http://127.0.0.1:9/mcp', auto_discover: false })
  assert.match(JSON.stringify((await first).value), /far/)
  const ending = (async () => { for await (const event of events) assert.ok(event) })()
  await gateway.close()
  await ending
  const aborted = Gateway.open()
  await assert.rejects(aborted.events({ signal: AbortSignal.abort() }).next(), { name: 'AbortError' })
  await aborted.close()
})

test('a key stands for its role, and the plain key is shown once', async () => {
  const gateway = Gateway.open({ config: { auth: { api_keys: true } } })
  const made = await gateway.createKey({ name: 'ci', role: 'viewer' })
  assert.match(made.key, /^mcp_/)
  const who = await gateway.authenticate(`Bearer ${made.key}`)
  assert.equal(who.role, 'viewer')
  await assert.rejects(gateway.authorize(`Bearer ${made.key}`, 'servers.remove'), { kind: 'permission_denied' })
  assert.ok(!JSON.stringify(await gateway.listKeys()).includes(made.key))
  await gateway.revokeKey(made.id)
  await assert.rejects(gateway.authenticate(`Bearer ${made.key}`), { kind: 'unauthenticated' })
  await gateway.close()
})

test('two gateways of one process share nothing', async () => {
  const [a, b] = [Gateway.open(), Gateway.open()]
  await a.register({ name: 'far', endpoint_url: 'http://127.0.0.1:9/mcp', auto_discover: false })
  assert.equal((await b.list()).total, 0)
  await a.close()
  assert.equal((await b.list()).total, 0)
  await b.close()
})
