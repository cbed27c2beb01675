'use strict'

const PLACE = Symbol.for('mcp-registry-gateway')

/** The one gateway of this process, opened by the first who asks: it survives hot reload, and modules that are loaded twice. */
function sharedGateway(open) {
  if (globalThis[PLACE] === undefined) {
    const opening = Promise.resolve().then(open)
    globalThis[PLACE] = opening
    // Who asks next may have more luck; those who wait are told.
    opening.catch(() => { if (globalThis[PLACE] === opening) delete globalThis[PLACE] })
  }
  return globalThis[PLACE]
}

module.exports = { sharedGateway }
