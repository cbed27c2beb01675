import { createHandlers } from 'mcp-registry-gateway'
import { gateway } from '../../../gateway.js'

export const runtime = 'nodejs'
export const dynamic = 'force-dynamic'

// Whoever reaches this application is the gateway's administrator: for development. Without `peer` everybody needs a credential.
export const { GET, POST, DELETE } = createHandlers(gateway, { peer: () => '127.0.0.1' })
