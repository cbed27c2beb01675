'use strict'
// What is still open when the process ends is ended with it, so that no child process is left.

const open = new Set()
const forget = new FinalizationRegistry((place) => open.delete(place))

process.on('exit', () => {
  for (const place of open) place.deref()?.end()
})

/** Remembers a gateway for as long as somebody has it. */
function remember(native) {
  const place = new WeakRef(native)
  open.add(place)
  forget.register(native, place)
  return native
}

module.exports = { remember }
