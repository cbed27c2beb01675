'use strict'
// What the addon of this platform is called, as `napi build --platform` names it.

const libc = () => (process.report.getReport().header.glibcVersionRuntime ? 'gnu' : 'musl')
const abi = { linux: libc, win32: () => 'msvc' }[process.platform] ?? (() => undefined)
const platform = [process.platform, process.arch, abi()].filter(Boolean).join('-')

module.exports = { platform, file: `mcp-registry-gateway.${platform}.node` }
