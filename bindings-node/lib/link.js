'use strict'

const { decode, encode } = require('./documents.js')
const { settled } = require('./error.js')

/** A connection as the transports of the official SDKs have it: `native` is listened to, sent to, and left by `leave`. */
class Link {
  #native
  #leave
  #ended
  #over = false

  constructor(native, leave, ended) {
    this.#native = native
    this.#leave = leave
    this.#ended = ended
  }

  async start() {
    this.#native.listen((message) => (message === null ? this.#end() : this.#hear(message)))
  }

  async send(message) {
    await settled(() => this.#native.send(encode(message)))
  }

  async close() {
    await settled(() => this.#leave(this.#native))
    this.#end()
  }

  #hear(message) {
    try {
      this.onmessage?.(decode(message))
    } catch (error) {
      this.onerror?.(error)
    }
  }

  #end() {
    if (this.#over) return
    this.#over = true
    this.#ended?.(this)
    this.onclose?.()
  }
}

/** A transport of the official SDKs' clients, straight into the gateway: `await client.connect(gateway.transport())`. */
class GatewayTransport extends Link {
  constructor(line) {
    super(line, (native) => native.end())
  }
}

/** One link of the gateway to a server of this process, as a transport of that server's. */
class ServerConnection extends Link {
  constructor(hosted, ended) {
    super(hosted, (native) => native.leave(), ended)
  }
}

module.exports = { GatewayTransport, ServerConnection }
