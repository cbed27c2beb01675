import { createHandlers } from 'mcp-registry-gateway'
import { opened } from '../../../gateway.js'

export const runtime = 'nodejs'

// Whoever reaches this application is the gateway's administrator: for development. Without `peer` a credential is needed.
const handlers = createHandlers(await opened, { peer: () => '127.0.0.1' })
export const { GET, POST, DELETE } = handlers
