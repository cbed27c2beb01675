'use strict'

const { decode, encode } = require('./documents.js')
const { settled } = require('./error.js')

/** A transport of the official SDKs' clients, straight into the gateway: `await client.connect(gateway.transport())`. */
class GatewayTransport {
  #line
  #closed = false

  constructor(line) {
    this.#line = line
  }

  async start() {
    this.#pump()
  }

  async #pump() {
    try {
      for (;;) {
        const message = await settled(() => this.#line.receive())
        if (message === null) break
        this.onmessage?.(decode(message))
      }
    } catch (error) {
      this.onerror?.(error)
    }
    this.#close()
  }

  send(message) {
    return settled(() => this.#line.send(encode(message)))
  }

  async close() {
    await settled(() => this.#line.end())
    this.#close()
  }

  #close() {
    if (this.#closed) return
    this.#closed = true
    this.onclose?.()
  }
}

module.exports = { GatewayTransport }
