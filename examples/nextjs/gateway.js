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

/** The one gateway of this process, and in it an MCP server of this process. */
export const gateway = sharedGateway(async () => {
  const opened = await Gateway.open()
  await opened.registerInprocess('sums', perLink(sums))
  await opened.discover('sums')
  return opened
})
