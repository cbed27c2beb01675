'use strict'
// Makes the addon by cargo alone, with the options given, for tests and benches: `napi build` builds below the triple of the platform, where
// nothing is that their other parts have compiled already.

const { spawnSync } = require('node:child_process')
const { copyFileSync } = require('node:fs')
const { join } = require('node:path')

const { file } = require('../lib/platform.js')

const folder = join(__dirname, '..')
const options = ['build', ...process.argv.slice(2), '--locked', '--message-format=json-render-diagnostics']
const built = spawnSync('cargo', options, { cwd: folder, encoding: 'utf8', maxBuffer: 2 ** 28, stdio: ['ignore', 'pipe', 'inherit'] })
if (built.status !== 0) process.exit(built.status ?? 1)
const artefacts = built.stdout.split('\n').filter((line) => line.startsWith('{')).map((line) => JSON.parse(line))
const addon = artefacts.find(({ target }) => target?.name === 'mcp_registry_gateway_node')
copyFileSync(addon.filenames[0], join(folder, file))
