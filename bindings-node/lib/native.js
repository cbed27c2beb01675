'use strict'
// The addon of this platform, as `napi build --platform` names it.

const { readdirSync } = require('node:fs')
const { join } = require('node:path')

const folder = join(__dirname, '..')
const libc = () => (process.report.getReport().header.glibcVersionRuntime ? 'gnu' : 'musl')
const abi = { linux: libc, win32: () => 'msvc' }[process.platform] ?? (() => undefined)
const platform = [process.platform, process.arch, abi()].filter(Boolean).join('-')
const file = `mcp-registry-gateway.${platform}.node`

if (!readdirSync(folder).includes(file)) {
  throw new Error(`mcp-registry-gateway has no addon for ${platform} here; \`npm run build\` in ${folder} makes it (needs cargo)`)
}
module.exports = require(join(folder, file))
