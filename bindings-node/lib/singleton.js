'use strict'

const PLACE = Symbol.for('mcp-registry-gateway')

/** The one gateway of this process, opened by the first who asks: it survives hot reload, and modules that are loaded twice. */
function sharedGateway(open) {
  globalThis[PLACE] ??= open()
  return globalThis[PLACE]
}

module.exports = { sharedGateway }
