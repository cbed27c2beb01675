import { McpServer } from '@modelcontextprotocol/server'
import { Gateway, perLink, sharedGateway } from 'mcp-registry-gateway'
import { z } from 'zod'

function sums() {
  const server = new McpServer({ name: 'sums', version: '1.0.0' })
  server.registerTool('add', { description: 'Adds two numbers', inputSchema: z.object({ a: z.number(), b: z.number() }) },
    async ({ a, b }) => ({ content: [{ type: 'text', text: String(a + b) }] }))
  return server
}

/** The one gateway of this process, with an MCP server that lives in it, too. */
export const opened = sharedGateway(async () => {
  const gateway = Gateway.open()
  await gateway.registerInprocess('sums', perLink(sums))
  await gateway.discover('sums')
  return gateway
})
