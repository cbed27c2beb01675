'use strict'
// The addon of this platform. Each is named by a literal, so that bundlers and tracers of files (esbuild, nft, ncc) find it.

const { platform } = require('./platform.js')

const ADDONS = {
  'linux-x64-gnu': () => require('../mcp-registry-gateway.linux-x64-gnu.node'),
  'linux-arm64-gnu': () => require('../mcp-registry-gateway.linux-arm64-gnu.node'),
  'linux-x64-musl': () => require('../mcp-registry-gateway.linux-x64-musl.node'),
  'linux-arm64-musl': () => require('../mcp-registry-gateway.linux-arm64-musl.node'),
  'darwin-x64': () => require('../mcp-registry-gateway.darwin-x64.node'),
  'darwin-arm64': () => require('../mcp-registry-gateway.darwin-arm64.node'),
  'win32-x64-msvc': () => require('../mcp-registry-gateway.win32-x64-msvc.node'),
}

function load() {
  const addon = ADDONS[platform]
  if (addon === undefined) throw new Error(`mcp-registry-gateway does not run on ${platform}; it runs on ${Object.keys(ADDONS).join(', ')}`)
  try {
    return addon()
  } catch (error) {
    if (error.code !== 'MODULE_NOT_FOUND') throw error
    throw new Error(`mcp-registry-gateway has no addon for ${platform} here; \`npm rebuild mcp-registry-gateway\` builds it (needs cargo)`, { cause: error })
  }
}

module.exports = load()
