'use strict'

/** A server that was picked, in flight until it is released. */
class Lease {
  #native

  constructor(picked) {
    this.#native = picked
  }

  get id() { return this.#native.id }
  get name() { return this.#native.name }
  get url() { return this.#native.url }

  succeeded() { this.#native.succeeded() }
  failed() { this.#native.failed() }
  release() { this.#native.release() }
  [Symbol.dispose ?? Symbol.for('Symbol.dispose')]() { this.release() }

  /** What `work` gives; the server failed if it throws. */
  async use(work) {
    try {
      const outcome = await work(this)
      this.succeeded()
      return outcome
    } catch (error) {
      this.failed()
      throw error
    } finally {
      this.release()
    }
  }
}

module.exports = { Lease }
