// The gateway in an Express application, beside its own routes.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import express from 'express'

import { nodeHandler } from '../index.js'
import { eventually, withFake } from './support.mjs'

/** A gateway in an application, and where it listens. */
async function application(context, build) {
  const { gateway, seen } = await withFake()
  const app = express()
  build(app, gateway)
  const http = await new Promise((go) => { const server = app.listen(0, '127.0.0.1', () => go(server)) })
  context.after(async () => {
    http.closeAllConnections()
    await new Promise((go) => http.close(go))
    await gateway.close()
  })
  return { seen, url: `http://127.0.0.1:${http.address().port}` }
}

test('an Express application serves MCP and REST under a path of its own, and its own routes', async (context) => {
  const { url } = await application(context, (app, gateway) => {
    app.use('/tools', nodeHandler(gateway, { prefix: '/tools', expose: ['rest'] }))
    app.use(express.json())
    app.post('/own', (request, response) => response.json({ heard: request.body.said }))
  })
  const client = new Client({ name: 'test', version: '1' })
  await client.connect(new StreamableHTTPClientTransport(new URL(`${url}/tools/mcp/one`)))
  assert.equal((await client.callTool({ name: 'echo', arguments: { text: 'hello' } })).content[0].text, 'hello')
  await client.close()
  const listed = await (await fetch(`${url}/tools/api/v1/servers`)).json()
  assert.deepEqual(listed.servers.map((server) => server.name), ['one'])
  const own = { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"said":1}' }
  assert.deepEqual(await (await fetch(`${url}/own`, own)).json(), { heard: 1 })
})

test('a client that leaves an Express application in the middle of a call cancels it at the server', async (context) => {
  const { seen, url } = await application(context, (app, gateway) => app.use(nodeHandler(gateway)))
  const leaving = new AbortController()
  const params = { name: 'one__wait', arguments: {} }
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params })
  const headers = { 'content-type': 'application/json' }
  const left = fetch(`${url}/mcp/proxy`, { method: 'POST', headers, body, signal: leaving.signal })
  await eventually(() => seen.some((message) => message.method === 'tools/call'))
  leaving.abort()
  await assert.rejects(left)
  await eventually(() => seen.some((message) => message.method === 'notifications/cancelled'))
})

test('a body that a parser has left on the request is used', async (context) => {
  const { url } = await application(context, (app, gateway) => app.use(express.json(), nodeHandler(gateway)))
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list' })
  const response = await fetch(`${url}/mcp/proxy`, { method: 'POST', headers: { 'content-type': 'application/json' }, body })
  assert.equal(response.status, 200)
  assert.ok((await response.json()).result.tools.length > 0)
})

test('a body that was read before and left nowhere is told of, not taken for an empty one', async (context) => {
  const { url } = await application(context, (app, gateway) => {
    app.use((request, _response, next) => request.resume().once('end', next))
    app.use(nodeHandler(gateway))
    app.use((error, request, response, next) => (response.headersSent ? next(error) : response.status(500).send(error.message)))
  })
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list' })
  const response = await fetch(`${url}/mcp/proxy`, { method: 'POST', headers: { 'content-type': 'application/json' }, body })
  assert.equal(response.status, 500)
  assert.match(await response.text(), /body was read before/)
})
