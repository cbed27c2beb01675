'use strict'
// Makes the addon of the whole workspace with the features of all, as the other steps of `tests/run` build it, so that nothing is compiled
// twice: `napi build` builds below the triple of the platform, where nothing of theirs is.

const { spawnSync } = require('node:child_process')
const { copyFileSync } = require('node:fs')
const { join } = require('node:path')

const { file } = require('../lib/platform.js')

const folder = join(__dirname, '..')
const options = ['build', '--workspace', '--all-features', '--locked', '--lib', '--bins', '--message-format=json-render-diagnostics']
const built = spawnSync('cargo', options, { cwd: folder, encoding: 'utf8', maxBuffer: 2 ** 28, stdio: ['ignore', 'pipe', 'inherit'] })
if (built.status !== 0) process.exit(built.status ?? 1)
const artefacts = built.stdout.split('\n').filter((line) => line.startsWith('{')).map((line) => JSON.parse(line))
const addon = artefacts.find(({ target }) => target?.name === 'mcp_registry_gateway_node')
copyFileSync(addon.filenames[0], join(folder, file))
