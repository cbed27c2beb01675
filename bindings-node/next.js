'use strict'

/** Tells Next.js to load the addon as it is, instead of bundling it. */
function withMcpGateway(nextConfig = {}) {
  const external = nextConfig.serverExternalPackages ?? []
  return { ...nextConfig, serverExternalPackages: [...external, 'mcp-registry-gateway'] }
}

module.exports = { withMcpGateway }
