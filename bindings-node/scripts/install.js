'use strict'
// Makes the addon where none was shipped: needs cargo, and takes some minutes.

const { spawnSync } = require('node:child_process')
const { existsSync } = require('node:fs')
const { join } = require('node:path')

const folder = join(__dirname, '..')
try {
  require('../lib/native.js')
} catch (missing) {
  if (!existsSync(join(folder, 'Cargo.toml'))) throw missing
  const script = process.env.MCP_GATEWAY_NODE_BUILD ?? 'build'
  const built = spawnSync('npm', ['run', script], {
    cwd: folder,
    stdio: 'inherit',
  })
  process.exit(built.status ?? 1)
}
