// The example for Next.js as it is built for production.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'

import { build, started } from './application.mjs'

test('the application that was built shows its servers and serves MCP, from one gateway', async (context) => {
  const { status, said } = build()
  assert.equal(status, 0, said)
  const { url, fetched, stop } = await started('start')
  context.after(stop)
  assert.match(await fetched('?a=20&b=22'), /<output>42<\/output>/)
  const client = new Client({ name: 'test', version: '1' })
  await client.connect(new StreamableHTTPClientTransport(new URL(`${url}/mcp`)))
  assert.equal((await client.callTool({ name: 'sums__add', arguments: { a: 2, b: 3 } })).content[0].text, '5')
  await client.close()
  const row = (html) => html.match(/<tr id="([^"]+)"/)?.[1]
  const first = row(await fetched())
  assert.ok(first)
  assert.equal(row(await fetched()), first, 'the same server of the same gateway')
})
