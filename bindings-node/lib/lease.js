'use strict'

/** A server that was picked, busy until it is released. */
class Lease {
  #native

  constructor(picked) {
    this.#native = picked
  }

  get serverId() { return this.#native.serverId }
  get name() { return this.#native.name }
  get endpointUrl() { return this.#native.endpointUrl }

  succeeded() { this.#native.succeeded() }
  failed() { this.#native.failed() }
  release() { this.#native.release() }
  [Symbol.dispose ?? Symbol.for('Symbol.dispose')]() { this.release() }

  async use(work) {
    try {
      const outcome = await work(this)
      this.succeeded()
      return outcome
    } catch (error) {
      this.failed()
      throw error
    }
  }
}

module.exports = { Lease }
