'use strict'

const native = require('./native.js')

/** The work that each signal cancels: one listener a signal, however many calls share it. */
const works = new WeakMap()

function listenersOf(signal) {
  let known = works.get(signal)
  if (known === undefined) {
    known = new Set()
    works.set(signal, known)
    signal.addEventListener('abort', () => { for (const work of known) work.cancel() }, { once: true })
  }
  return known
}

/** The value of the promise that `begin` returns, given work that `signal` cancels; then the promise is rejected with its reason. */
async function cancellable(signal, begin) {
  if (signal === undefined) return begin(undefined)
  signal.throwIfAborted()
  const work = new native.Work()
  const known = listenersOf(signal)
  known.add(work)
  try {
    return await begin(work)
  } catch (error) {
    throw signal.aborted ? signal.reason : error
  } finally {
    known.delete(work)
  }
}

module.exports = { cancellable }
