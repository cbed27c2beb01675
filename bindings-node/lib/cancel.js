'use strict'

const native = require('./native.js')

/** What `begin` promises, given something to cancel it with once `signal` says so; then the promise is rejected with its reason. */
async function cancellable(signal, begin) {
  if (signal === undefined) return begin(undefined)
  signal.throwIfAborted()
  const work = new native.Work()
  const cancel = () => work.cancel()
  signal.addEventListener('abort', cancel, { once: true })
  try {
    return await begin(work)
  } catch (error) {
    throw signal.aborted ? signal.reason : error
  } finally {
    signal.removeEventListener('abort', cancel)
  }
}

module.exports = { cancellable }
