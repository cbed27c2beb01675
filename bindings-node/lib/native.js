'use strict'
// The addon of this platform.

const { readdirSync } = require('node:fs')
const { join } = require('node:path')

const { file, platform } = require('./platform.js')

const folder = join(__dirname, '..')

if (!readdirSync(folder).includes(file)) {
  throw new Error(`mcp-registry-gateway has no addon for ${platform} here; \`npm run build\` in ${folder} makes it (needs cargo)`)
}
module.exports = require(join(folder, file))
