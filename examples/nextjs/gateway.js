import { writeFileSync } from 'node:fs'

import { McpServer } from '@modelcontextprotocol/server'
import { Gateway, perLink, sharedGateway } from 'mcp-registry-gateway'
import { z } from 'zod'

function sums() {
  const server = new McpServer({ name: 'sums', version: '1.0.0' })
  const numbers = z.object({ a: z.number(), b: z.number() })
  server.registerTool('add', { description: 'Adds two numbers', inputSchema: numbers }, async ({ a, b }) => ({
    content: [{ type: 'text', text: String(a + b) }],
  }))
  return server
}

/** Where the key for MCP clients is written, for the user of this process alone to read. */
const KEY_FILE = process.env.GATEWAY_KEY_FILE ?? '.gateway-key'

/**
 * The one gateway of this process, and in it an MCP server of this process. Whoever calls it from outside shows an API key: one that
 * calls tools is made here, since this gateway forgets its keys when the process ends. With `url: 'sqlite:gateway.db'` it keeps them.
 */
export const gateway = sharedGateway(async () => {
  const opened = await Gateway.open({ config: { auth: { api_keys: true } } })
  const { key } = await opened.createKey({ name: 'clients', role: 'analyst' })
  writeFileSync(KEY_FILE, key, { mode: 0o600 })
  await opened.registerInprocess('sums', perLink(sums))
  await opened.discover('sums')
  return opened
})
