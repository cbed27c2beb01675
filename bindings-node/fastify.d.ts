import type { Gateway, Part } from './index.js'

/** The gateway's MCP endpoints as a plugin of Fastify: `app.register(mcpGateway, { gateway, prefix: '/mcp' })`. */
export declare function mcpGateway(
  app: any,
  options: { gateway: Gateway | Promise<Gateway>; prefix?: string; expose?: Part[]; trust?: 'development' },
): Promise<void>
