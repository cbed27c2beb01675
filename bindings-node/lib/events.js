'use strict'

const { cancellable } = require('./cancel.js')
const { decode, record } = require('./documents.js')
const { settled } = require('./error.js')

/** The changes of servers since this was made. */
class Events {
  #watch
  #signal
  #ending = new AbortController()
  #last = Promise.resolve()

  constructor(watch, signal) {
    this.#watch = watch
    this.#signal = signal
    if (signal?.aborted) this.#ending.abort(signal.reason)
    else signal?.addEventListener('abort', () => this.#ending.abort(signal.reason), { once: true })
  }

  /** The next change. Calls are answered one after the other. */
  next() {
    const next = this.#last.then(() => this.#next())
    this.#last = next.catch(() => {})
    return next
  }

  async #next() {
    const ended = { done: true, value: undefined }
    if (this.#ending.signal.aborted && this.#signal?.aborted !== true) return ended
    try {
      const change = await cancellable(this.#ending.signal, (work) => settled(() => this.#watch.next(work)))
      if (change !== null) return { done: false, value: record(decode(change)) }
    } catch (error) {
      if (this.#signal?.aborted === true || !this.#ending.signal.aborted) throw error
    }
    return ended
  }

  /** Ends the events; a `next()` that waits is over at once. */
  async return() {
    this.#ending.abort()
    return { done: true, value: undefined }
  }

  async throw(error) {
    await this.return()
    throw error
  }

  [Symbol.asyncIterator]() { return this }
  async [Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose')]() { await this.return() }
}

module.exports = { Events }
