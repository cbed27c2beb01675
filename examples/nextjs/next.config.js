import { withMcpGateway } from 'mcp-registry-gateway/next'

export default withMcpGateway({})
