// Compiled by `tsc --strict`, never run.

import { Client } from '@modelcontextprotocol/client'
import { createHandlers, Gateway, GatewayError, nodeHandler, perLink, sharedGateway } from '../index.js'
import { withMcpGateway } from '../next.js'

export async function uses(gateway: Gateway): Promise<string> {
  const server = await gateway.register({ name: 'a', endpointUrl: 'http://127.0.0.1:1/mcp', tags: ['x'] })
  const revision: number = server.revision
  await gateway.update(server.id, { weight: 2 }, { revision })
  const result = await gateway.callTool('a__b', { deep: [1, { two: null }] }, { timeout: 1000, signal: AbortSignal.timeout(5) })
  for await (const event of gateway.events()) {
    if (event.type === 'server.health' && event.to === 'healthy') break
  }
  await new Client({ name: 'x', version: '1' }).connect(gateway.transport())
  const lease = gateway.pick('a', 'key')
  const name: string = await lease.use(({ name }) => name)
  try {
    await gateway.remove('a')
  } catch (error) {
    if (error instanceof GatewayError && error.kind === 'not_found') return error.message
  }
  return name + String(result.isError)
}

// @ts-expect-error: a name is needed
export const nameless: Parameters<Gateway['register']>[0] = { endpointUrl: 'http://127.0.0.1:1' }
// @ts-expect-error: gateways are opened, not made
export const made = new Gateway()

const shared: Promise<Gateway> = sharedGateway(() => Gateway.open({ url: 'memory:' }))
export const { GET, POST, DELETE } = createHandlers(shared, { prefix: '/api', expose: ['rest', 'metrics'], trust: 'development' })
export const handler = nodeHandler(shared)
// @ts-expect-error: there is no such part
export const wrong = nodeHandler(shared, { expose: ['admin'] })
export const config: { reactStrictMode: boolean; serverExternalPackages: string[] } = withMcpGateway({ reactStrictMode: true })
export const upstream = perLink(async () => ({ connect: async () => {} }))
