import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, get } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'

import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'

import { createHandlers, nodeHandler } from '../index.js'
import { eventually, withFake } from './support.mjs'

const LOCAL = { peer: () => '127.0.0.1', trust: 'development' }
const HEADERS = { 'content-type': 'application/json', accept: 'application/json, text/event-stream', host: 'localhost' }

const initialize = JSON.stringify({
  jsonrpc: '2.0',
  id: 1,
  method: 'initialize',
  params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'test', version: '1' } },
})

async function listening(handler) {
  const http = createServer(handler)
  await new Promise((go) => http.listen(0, '127.0.0.1', go))
  return { http, url: `http://127.0.0.1:${http.address().port}` }
}

test('fetch-style handlers serve MCP and REST below their prefix', async () => {
  const { gateway } = await withFake()
  const handlers = createHandlers(gateway, { prefix: '/api', expose: ['rest'], ...LOCAL })
  const request = new Request('http://localhost/api/mcp/one', { method: 'POST', headers: HEADERS, body: initialize })
  const response = await handlers.POST(request)
  assert.equal(response.status, 200, await response.clone().text())
  assert.equal((await response.json()).result.serverInfo.name, 'fake')
  const list = await handlers.GET(new Request('http://localhost/api/api/v1/servers', { headers: { host: 'localhost' } }))
  assert.deepEqual((await list.json()).servers.map((server) => server.name), ['one'])
  await gateway.close()
})

test('a request of nobody in particular needs a credential', async () => {
  const { gateway } = await withFake()
  const handlers = createHandlers(gateway, { expose: ['rest'] })
  const response = await handlers.GET(new Request('http://localhost/api/v1/servers', { headers: { host: 'localhost' } }))
  assert.equal(response.status, 401)
  await gateway.close()
})

test('an aborted request is given up at the server', async () => {
  const { gateway, seen } = await withFake()
  const handlers = createHandlers(gateway, LOCAL)
  const opened = await handlers.POST(new Request('http://localhost/mcp/one', { method: 'POST', headers: HEADERS, body: initialize }))
  const session = opened.headers.get('mcp-session-id')
  await opened.text()
  const modern = JSON.stringify({
    jsonrpc: '2.0', id: 2, method: 'tools/call',
    params: {
      name: 'wait', arguments: {},
      _meta: {
        'io.modelcontextprotocol/protocolVersion': '2026-07-28',
        'io.modelcontextprotocol/clientInfo': { name: 'test', version: '1' },
        'io.modelcontextprotocol/clientCapabilities': {},
      },
    },
  })
  assert.ok(session)
  const aborting = new AbortController()
  const pending = handlers.POST(new Request('http://localhost/mcp/one', {
    method: 'POST',
    headers: { ...HEADERS, 'mcp-protocol-version': '2026-07-28', 'mcp-method': 'tools/call', 'mcp-name': 'wait' },
    body: modern,
    signal: aborting.signal,
  })).then((response) => response.text()).catch(() => {})
  await eventually(() => seen.some((message) => message.method === 'tools/call'))
  aborting.abort()
  await eventually(() => seen.some((message) => message.method === 'notifications/cancelled'))
  await pending
  await gateway.close()
})

test('node\'s own server serves a client of the SDK', async () => {
  const { gateway } = await withFake()
  const { http, url } = await listening(nodeHandler(gateway))
  const client = new Client({ name: 'test', version: '1' })
  await client.connect(new StreamableHTTPClientTransport(new URL(`${url}/mcp/one`)))
  const result = await client.callTool({ name: 'echo', arguments: { text: 'hello' } })
  assert.equal(result.content[0].text, 'hello')
  await client.close()
  http.closeAllConnections()
  await new Promise((go) => http.close(go))
  await gateway.close()
})

test('an answer that comes before the request has ended is heard', async () => {
  const { gateway } = await withFake({ config: { server: { max_body_bytes: 1024 } } })
  const { http, url } = await listening(nodeHandler(gateway, { expose: ['rest'] }))
  const body = JSON.stringify({ filler: 'x'.repeat(3_000_000) })
  const response = await fetch(`${url}/api/v1/servers`, { method: 'POST', headers: { 'content-type': 'application/json' }, body })
  assert.equal(response.status, 413, await response.text())
  http.closeAllConnections()
  await new Promise((go) => http.close(go))
  await gateway.close()
})

test('who comes without an address is not taken for this machine', async (context) => {
  const { gateway } = await withFake()
  const folder = mkdtempSync(join(tmpdir(), 'gateway-'))
  const socketPath = join(folder, 'socket')
  const http = createServer(nodeHandler(gateway, { expose: ['rest'] }))
  context.after(() => rmSync(folder, { recursive: true }))
  await new Promise((go) => http.listen(socketPath, go))
  const status = await new Promise((go, fail) => {
    get({ socketPath, path: '/api/v1/servers', headers: { host: 'localhost' } }, (response) => go(response.resume().statusCode)).on('error', fail)
  })
  assert.equal(status, 401)
  http.closeAllConnections()
  await new Promise((go) => http.close(go))
  await gateway.close()
})

test('events are streamed as they come, until nobody reads them any more', async () => {
  const { gateway } = await withFake()
  const handlers = createHandlers(gateway, { expose: ['events'], ...LOCAL })
  const headers = { host: 'localhost', accept: 'text/event-stream' }
  const response = await handlers.GET(new Request('http://localhost/api/v1/events', { headers }))
  assert.match(response.headers.get('content-type'), /event-stream/)
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
  await gateway.update('one', { description: 'changed' })
  let heard = ''
  while (!heard.includes('server.updated')) heard += (await reader.read()).value
  await reader.cancel()
  await gateway.close()
})

test('what cannot be answered is handed to the next handler', async () => {
  const opening = Promise.reject(new Error('no database'))
  opening.catch(() => {})
  const handler = nodeHandler(opening)
  const { http, url } = await listening((request, response) => handler(request, response, (error) => response.writeHead(500).end(error.message)))
  const response = await fetch(`${url}/api/v1/servers`)
  assert.deepEqual([response.status, await response.text()], [500, 'no database'])
  await new Promise((go) => http.close(go))
})

/** The status of a request to `handlers`, and what was answered. */
async function asked(handlers, method, path, body) {
  const request = new Request(`http://localhost${path}`, { method, headers: HEADERS, ...(body && { body: JSON.stringify(body) }) })
  const response = await handlers[method](request)
  return [response.status, await response.text()]
}

const SHELL = { name: 'evil', command: '/bin/sh', args: ['-c', 'exit 0'], auto_discover: false }
const registering = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'gateway__register_server', arguments: SHELL } }

test('X-20: an address that the program makes up gives nobody rights', async () => {
  const { gateway } = await withFake()
  for (const peer of ['127.0.0.1', '::1', '::ffff:127.0.0.1', undefined]) {
    const handlers = createHandlers(gateway, { peer: () => peer, expose: ['rest', 'builtin'] })
    assert.equal((await asked(handlers, 'POST', '/mcp/proxy', registering))[0], 401, peer)
    assert.equal((await asked(handlers, 'POST', '/api/v1/servers', SHELL))[0], 401, peer)
  }
  const { http, url } = await listening(nodeHandler(gateway, { peer: () => '127.0.0.1', expose: ['rest'] }))
  assert.equal((await fetch(`${url}/api/v1/servers`)).status, 401)
  http.closeAllConnections()
  await new Promise((go) => http.close(go))
  assert.equal((await gateway.list()).total, 1)
  await gateway.close()
})

test("X-20: trust: 'development' is for development alone", async () => {
  const { gateway } = await withFake()
  const before = process.env.NODE_ENV
  try {
    process.env.NODE_ENV = 'production'
    assert.throws(() => createHandlers(gateway, LOCAL), /NODE_ENV is 'production'.*api_keys/)
    assert.throws(() => nodeHandler(gateway, { trust: 'development' }), /NODE_ENV is 'production'/)
  } finally {
    if (before === undefined) delete process.env.NODE_ENV
    else process.env.NODE_ENV = before
  }
  assert.throws(() => createHandlers(gateway, { trust: 'everybody' }), { kind: 'invalid_params' })
  const local = createHandlers(gateway, LOCAL)
  assert.equal((await asked(local, 'POST', '/mcp/proxy', { jsonrpc: '2.0', id: 1, method: 'tools/list', params: {} }))[0], 200)
  const [, refused] = await asked(createHandlers(gateway, { ...LOCAL, expose: ['builtin'] }), 'POST', '/mcp/proxy', registering)
  assert.match(refused, /Unknown tool: gateway__register_server.*`\/mcp\/gateway`/, 'no command by MCP, whoever asks')
  await gateway.close()
})

test('X-22: handlers serve MCP alone unless more is asked for', async () => {
  const { gateway } = await withFake()
  const parts = { rest: '/api/v1/servers', metrics: '/metrics', docs: '/openapi.json', health: '/ready' }
  const served = async (expose) => {
    const handlers = createHandlers(gateway, { ...LOCAL, expose })
    const found = []
    for (const [part, path] of Object.entries(parts)) {
      const [status] = await asked(handlers, 'GET', path)
      if (status === 200) found.push(part)
      else assert.equal(status, 404, path)
    }
    const [, listed] = await asked(handlers, 'POST', '/mcp/proxy', { jsonrpc: '2.0', id: 1, method: 'tools/list', params: {} })
    if (listed.includes('gateway__')) found.push('builtin')
    return found
  }
  assert.deepEqual(await served(undefined), [])
  for (const part of [...Object.keys(parts), 'builtin']) assert.deepEqual(await served([part]), [part])
  assert.throws(() => createHandlers(gateway, { expose: ['admin'] }), { kind: 'invalid_params' })
  const { http, url } = await listening(nodeHandler(gateway))
  for (const path of Object.values(parts)) assert.equal((await fetch(`${url}${path}`)).status, 404, path)
  http.closeAllConnections()
  await new Promise((go) => http.close(go))
  await gateway.close()
})
