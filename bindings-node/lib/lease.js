'use strict'

/** Codes of errors of the transport: the server could not be reached, or broke the connection (Node's own, and undici's). */
const TRANSPORT = /^(E(CONN|PIPE|HOST|NET|ADDR|TIMEDOUT|AI_|NOTFOUND|PROTO)|UND_ERR_(SOCKET|CONNECT|HEADERS|BODY)|ERR_TLS|CERT_)/

const isTransport = (error) =>
  error instanceof Error && (TRANSPORT.test(String(error.code ?? '')) || (error.cause !== undefined && isTransport(error.cause)))

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
      if (isTransport(error)) this.failed()
      else this.release()
      throw error
    }
  }
}

module.exports = { Lease }
