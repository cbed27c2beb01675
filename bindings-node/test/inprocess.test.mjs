import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Client } from '@modelcontextprotocol/client'
import { McpServer } from '@modelcontextprotocol/server'
import { z } from 'zod'

import { Gateway, perLink } from '../index.js'
import { withFake } from './support.mjs'

function server() {
  const made = new McpServer({ name: 'sums', version: '1' })
  made.registerTool('add', { inputSchema: z.object({ a: z.number(), b: z.number() }) }, async ({ a, b }, context) => {
    await context.mcpReq.notify({
      method: 'notifications/progress',
      params: { progressToken: context.mcpReq._meta?.progressToken ?? 'none', progress: 1 },
    }).catch(() => {})
    return { content: [{ type: 'text', text: String(a + b) }] }
  })
  return made
}

for (const [what, upstream] of [['a server object', server], ['a server for each link', () => perLink(server)]]) {
  test(`${what} of the SDK answers many callers at once`, async () => {
    const gateway = Gateway.open()
    const place = await gateway.registerInprocess('sums', upstream())
    await gateway.discover('sums')
    const sums = await Promise.all(
      Array.from({ length: 50 }, (_, a) => gateway.callTool('add', { a, b: 1 }, { service: 'sums' })),
    )
    assert.deepEqual(sums.map((sum) => sum.content[0].text), Array.from({ length: 50 }, (_, a) => String(a + 1)))
    place.close()
    await assert.rejects(gateway.callTool('add', { a: 1, b: 1 }, { service: 'sums', timeoutSeconds: 2 }), {
      name: 'GatewayError',
    })
    await gateway.close()
  })
}

test('a client of the SDK speaks to the gateway without a socket', async () => {
  const { gateway } = await withFake()
  const client = new Client({ name: 'test', version: '1' })
  await client.connect(gateway.transport({ service: 'one' }))
  const { tools } = await client.listTools()
  assert.ok(tools.some((tool) => tool.name === 'echo'))
  const result = await client.callTool({ name: 'echo', arguments: { text: 'hello' } })
  assert.equal(result.content[0].text, 'hello')
  await client.close()
  await gateway.close()
})
