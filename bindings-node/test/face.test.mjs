// The face as JavaScript's people expect it: options that are not known are refused, calls hear the server, hosts stop at once.

import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { inspect } from 'node:util'
import { once } from 'node:events'
import { test } from 'node:test'

import compression from 'compression'
import express from 'express'
import Fastify from 'fastify'
import { Hono } from 'hono'
import { McpServer } from '@modelcontextprotocol/server'
import { z } from 'zod'

import { createHandlers, Gateway, GatewayError, nodeHandler, ToolError } from '../index.js'
import { mcpGateway } from '../fastify.js'
import { fake, withFake } from './support.mjs'

const INITIALIZE = {
  jsonrpc: '2.0', id: 1, method: 'initialize',
  params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 't', version: '1' } },
}
const POST = (message, headers = {}) => ({
  method: 'POST', body: JSON.stringify(message),
  headers: { 'content-type': 'application/json', accept: 'application/json, text/event-stream', ...headers },
})

async function listening(context, handler) {
  const server = createServer(handler)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  context.after(() => { server.closeAllConnections(); server.close() })
  return { server, url: `http://127.0.0.1:${server.address().port}` }
}

/** A stream of server messages that stays open. */
async function streaming(url, path = '/mcp') {
  const opened = await fetch(url + path, POST(INITIALIZE))
  assert.equal(opened.status, 200)
  const session = { 'mcp-session-id': opened.headers.get('mcp-session-id'), 'mcp-protocol-version': '2025-11-25' }
  await fetch(url + path, POST({ jsonrpc: '2.0', method: 'notifications/initialized' }, session))
  const stream = await fetch(url + path, { headers: { ...session, accept: 'text/event-stream' } })
  assert.equal(stream.status, 200)
  return stream
}

test('options that are not known are refused by name', async () => {
  const { gateway } = await withFake()
  for (const [what, said] of [
    [() => Gateway.open('sqlite:x.db'), /takes an object of options, not 'sqlite:x.db'/],
    [() => Gateway.open(42), /takes an object of options, not 42/],
    [() => Gateway.open({ ur: 'memory:' }), /no option `ur`; did you mean `url`\?/],
    [() => gateway.list({ serach: 'x' }), /no option `serach`; did you mean `search`\?/],
    [() => gateway.callTool('one__echo', {}, AbortSignal.timeout(1)), /takes the signal as `\{ signal \}`/],
    [() => gateway.callTool('one__echo', [1]), /the arguments of a tool are an object, not an array/],
    [() => gateway.callTool('one__echo', {}, { timeout: '5' }), /`timeout` is a number of milliseconds/],
    [() => gateway.callTool('one__echo', { v: NaN }), /`v`: NaN is not JSON/],
  ]) {
    await assert.rejects(what, (error) => error instanceof TypeError && said.test(error.message), String(said))
  }
  await gateway.close()
})

test('records have the names of JavaScript, and registrations take both', async () => {
  const gateway = await Gateway.open({ servers: [{ name: 'a', endpointUrl: 'http://127.0.0.1:9/mcp', autoDiscover: false }] })
  const made = await gateway.register({ name: 'b', endpoint_url: 'http://127.0.0.1:9/mcp', autoDiscover: false, displayName: 'B' })
  assert.deepEqual([made.endpointUrl, made.displayName, typeof made.createdAt], ['http://127.0.0.1:9/mcp', 'B', 'string'])
  assert.deepEqual((await gateway.list()).servers.map((server) => server.name), ['a', 'b'])
  assert.equal(inspect(gateway), 'Gateway { open }')
  await gateway.close()
  assert.equal(inspect(gateway), 'Gateway { closed }')
})

test('an error of a tool is thrown unless it is asked for', async () => {
  const server = new McpServer({ name: 's', version: '1' })
  server.registerTool('refuse', { inputSchema: z.object({}) }, async () => ({ isError: true, content: [{ type: 'text', text: 'not today' }] }))
  const gateway = await Gateway.open()
  await gateway.registerInprocess('s', server)
  await gateway.discover('s')
  await assert.rejects(gateway.callTool('s__refuse', {}), (error) => {
    assert.ok(error instanceof ToolError && error instanceof GatewayError)
    assert.deepEqual([error.message, error.code, error.result.isError], ['s__refuse: not today', 'ERR_GATEWAY_TOOL', true])
    return true
  })
  assert.equal((await gateway.callTool('s__refuse', {}, { raiseOnError: false })).isError, true)
  await gateway.close()
})

test('a call hears progress and answers elicitation', async () => {
  const gateway = await Gateway.open()
  await gateway.registerInprocess('asks', () => {
    const server = new McpServer({ name: 'asks', version: '1' })
    server.registerTool('name', { inputSchema: z.object({}) }, async (_args, context) => {
      const token = context?.mcpReq?._meta?.progressToken ?? context?._meta?.progressToken
      if (token !== undefined) {
        const note = { method: 'notifications/progress', params: { progressToken: token, progress: 1, total: 2 } }
        await (context.mcpReq?.notify ?? context.sendNotification)(note)
      }
      const answer = await server.server.elicitInput({ message: 'your name?', requestedSchema: { type: 'object', properties: { name: { type: 'string' } } } })
      return { content: [{ type: 'text', text: `${answer.action} ${answer.content?.name}` }] }
    })
    return server
  })
  await gateway.discover('asks')
  const heard = []
  const options = { service: 'asks', timeout: 10_000, onprogress: ({ progress, total }) => heard.push([progress, total]), onelicitation: () => ({ name: 'Ann' }) }
  assert.equal((await gateway.callTool('name', {}, options)).content[0].text, 'accept Ann')
  assert.deepEqual(heard, [[1, 2]])
  await gateway.close()
})

test('one signal cancels many calls without a warning, and its reason stays as it is', async () => {
  const { gateway } = await withFake()
  const warned = []
  process.on('warning', (warning) => warned.push(warning.name))
  const aborting = new AbortController()
  const calls = Array.from({ length: 50 }, () => gateway.callTool('wait', {}, { service: 'one', signal: aborting.signal }))
  const reason = new Error('{"not":"a document"')
  aborting.abort(reason)
  for (const outcome of await Promise.allSettled(calls)) assert.equal(outcome.reason, reason)
  await new Promise((go) => setImmediate(go))
  assert.deepEqual(warned, [])
  await gateway.close()
})

test('events begin at once, and end at once', async () => {
  const gateway = await Gateway.open()
  const events = gateway.events()
  await gateway.register({ name: 'far', endpointUrl: 'http://127.0.0.1:9/mcp', autoDiscover: false })
  assert.equal((await events.next()).value.name, 'far')
  const waiting = events.next()
  await events.return()
  assert.equal((await waiting).done, true)
  await gateway.close()
})

test('what is no server is refused when it is registered', async () => {
  const gateway = await Gateway.open()
  for (const nothing of [{}, 'x', 42, () => ({})]) {
    await assert.rejects(gateway.registerInprocess('x', nothing), TypeError)
  }
  const failed = new Error('no database')
  await assert.rejects(gateway.registerInprocess('x', () => { throw failed }), failed)
  await gateway.close()
})

test('a caller\'s own exception is not the failure of the server that was picked', async () => {
  const { gateway } = await withFake()
  const id = (await gateway.get('one')).id
  const failures = async () => (await gateway.metrics()).metrics[id].failureCount
  await assert.rejects(gateway.pick('one').use(() => { throw new Error('mine') }), /mine/)
  assert.equal(await failures(), 0)
  const refused = Object.assign(new TypeError('fetch failed'), { cause: Object.assign(new Error('refused'), { code: 'ECONNREFUSED' }) })
  await assert.rejects(gateway.pick('one').use(() => { throw refused }), refused)
  assert.equal(await failures(), 1)
  await gateway.close()
})

test('a server stops at once while a client holds a stream', async (context) => {
  const { gateway } = await withFake()
  const { server, url } = await listening(context, nodeHandler(gateway))
  const stream = await streaming(url)
  const closed = once(server, 'close')
  server.close()
  await stream.text()
  server.closeIdleConnections()
  await closed
  await gateway.close()
})

test('a closed gateway answers 503', async (context) => {
  const { gateway } = await withFake()
  const { url } = await listening(context, nodeHandler(gateway))
  const handlers = createHandlers(gateway)
  await gateway.close()
  for (const answer of [await fetch(`${url}/mcp`, POST(INITIALIZE)), await handlers.POST(new Request(`${url}/mcp`, POST(INITIALIZE)))]) {
    assert.equal(answer.status, 503)
    assert.equal(answer.headers.get('retry-after'), '1')
    assert.equal((await answer.json()).error.data.kind, 'unavailable')
  }
})

test('prefixes, slashes and constructed requests lead to the same endpoint', async () => {
  const { gateway } = await withFake({ config: { auth: { api_keys: true } } })
  const { key } = await gateway.createKey({ name: 'k', role: 'analyst' })
  const bearer = { authorization: `Bearer ${key}` }
  for (const prefix of ['api', '/api', '/api/']) {
    const { fetch: handle } = createHandlers(gateway, { prefix })
    for (const path of ['/api/mcp', '/api/mcp/', '/api/mcp/one/']) {
      const answer = await handle(new Request(`http://localhost${path}`, POST(INITIALIZE, bearer)))
      assert.equal(answer.status, 200, `${prefix} ${path}`)
      await answer.text()
    }
  }
  await gateway.close()
})

test('Hono hands its context over', async () => {
  const { gateway } = await withFake({ config: { auth: { api_keys: true } } })
  const { key } = await gateway.createKey({ name: 'k', role: 'analyst' })
  const app = new Hono().all('/mcp/*', createHandlers(gateway).fetch).all('/mcp', createHandlers(gateway).fetch)
  const answer = await app.request('http://localhost/mcp', POST(INITIALIZE, { authorization: `Bearer ${key}` }))
  assert.equal(answer.status, 200)
  await answer.text()
  await gateway.close()
})

test('Fastify has a plugin, beside routes of its own', async (context) => {
  const { gateway } = await withFake()
  const app = Fastify()
  app.register(mcpGateway, { gateway, prefix: '/mcp' })
  app.post('/own', async (request) => ({ heard: request.body.said }))
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  context.after(() => app.close())
  const stream = await streaming(url)
  assert.equal((await (await fetch(`${url}/mcp/one`, POST(INITIALIZE))).json()).result.serverInfo.name, 'fake')
  const own = { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"said":1}' }
  assert.deepEqual(await (await fetch(`${url}/own`, own)).json(), { heard: 1 })
  await stream.body.cancel()
  await gateway.close()
})

test('events pass middleware that compresses', async (context) => {
  const { gateway } = await withFake()
  const app = express().use(compression(), nodeHandler(gateway))
  const { url } = await listening(context, app)
  const stream = await streaming(url)
  assert.match(stream.headers.get('cache-control'), /no-transform/)
  assert.equal(stream.headers.get('content-encoding'), null)
  await stream.body.cancel()
  await gateway.close()
})

test('a gateway that is being closed gives up calls after the time that was said', async () => {
  const gateway = await Gateway.open()
  await gateway.registerInprocess('one', fake())
  await gateway.discover('one')
  const call = gateway.callTool('wait', {}, { service: 'one' }).catch((error) => error)
  while ((await gateway.activeRequests()).requests.length === 0) await new Promise((go) => setImmediate(go))
  await gateway.close({ timeout: 1 })
  assert.ok((await call) instanceof GatewayError)
})
