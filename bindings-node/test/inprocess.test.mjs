import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Client } from '@modelcontextprotocol/client'
import { McpServer } from '@modelcontextprotocol/server'
import { z } from 'zod'

import { Gateway, perLink } from '../index.js'
import { fake, withFake } from './support.mjs'

function server() {
  const made = new McpServer({ name: 'sums', version: '1' })
  made.registerTool('add', { inputSchema: z.object({ a: z.number(), b: z.number() }) }, async ({ a, b }, context) => {
    const progressToken = context.mcpReq._meta?.progressToken
    if (progressToken !== undefined) {
      await context.mcpReq.notify({ method: 'notifications/progress', params: { progressToken, progress: a } })
    }
    return { content: [{ type: 'text', text: String(a + b) }] }
  })
  return made
}

for (const [what, upstream] of [['a server object', server], ['a server for each link', () => perLink(server)]]) {
  test(`${what} of the SDK answers many callers at once`, async () => {
    const gateway = await Gateway.open()
    const place = await gateway.registerInprocess('sums', upstream())
    await gateway.discover('sums')
    const sums = await Promise.all(
      Array.from({ length: 50 }, (_, a) => gateway.callTool('add', { a, b: 1 }, { service: 'sums' })),
    )
    assert.deepEqual(sums.map((sum) => sum.content[0].text), Array.from({ length: 50 }, (_, a) => String(a + 1)))
    place.close()
    await assert.rejects(gateway.callTool('add', { a: 1, b: 1 }, { service: 'sums', timeout: 2000 }), {
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

test('what a server of this process says of its progress reaches the caller that asked', async () => {
  const gateway = await Gateway.open()
  await gateway.registerInprocess('sums', server())
  await gateway.discover('sums')
  const heard = await Promise.all([10, 20].map(async (a) => {
    const client = new Client({ name: 'test', version: '1' })
    await client.connect(gateway.transport({ service: 'sums' }))
    const told = []
    await client.callTool({ name: 'add', arguments: { a, b: 0 } }, { onprogress: ({ progress }) => told.push(progress) })
    await client.close()
    return told
  }))
  assert.deepEqual(heard, [[10], [20]])
  await gateway.close()
})

test('a function that throws answers with an error', async () => {
  const gateway = await Gateway.open()
  await gateway.registerInprocess('broken', (message, context) => {
    if (message.method === 'tools/call') throw new Error('no such luck')
    return fake()(message, context)
  })
  await gateway.discover('broken')
  await assert.rejects(gateway.callTool('echo', {}, { service: 'broken' }), (error) => {
    assert.deepEqual([error.message, error.context.code, error.context.source], ['no such luck', -32603, 'server'])
    return true
  })
  await gateway.close()
})

test('a server that cannot be made for a link is made for the next', async () => {
  const gateway = await Gateway.open()
  let made = 0
  await gateway.registerInprocess('sums', perLink(() => {
    made += 1
    if (made === 1) throw new Error('not yet')
    return server()
  }), { auto_discover: false })
  await gateway.discover('sums').catch(() => gateway.discover('sums'))
  assert.ok(made > 1)
  assert.equal((await gateway.callTool('add', { a: 1, b: 1 }, { service: 'sums' })).content[0].text, '2')
  await gateway.close()
})
