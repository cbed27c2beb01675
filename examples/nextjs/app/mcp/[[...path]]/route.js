import { createHandlers } from 'mcp-registry-gateway'
import { gateway } from '../../../gateway.js'

export const runtime = 'nodejs'
export const dynamic = 'force-dynamic'

// MCP and nothing else. Each client shows an API key: see gateway.js.
export const { GET, POST, DELETE } = createHandlers(gateway)
