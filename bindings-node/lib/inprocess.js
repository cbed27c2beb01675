'use strict'
// An MCP server of this process as an upstream: each link that the gateway opens is a transport of the server's.

const { decode, encode } = require('./documents.js')
const { settled } = require('./error.js')
const { shared } = require('./shared.js')

const PER_LINK = Symbol('a server for each link')

/** An upstream that is made anew for each link of the gateway: `perLink(() => new McpServer(…))`. */
const perLink = (make) => ({ [PER_LINK]: make })

/** One link, as the transport of an SDK's server. */
class Link {
  #hosted

  constructor(hosted) {
    this.#hosted = hosted
  }

  async start() {
    this.#pump()
  }

  async #pump() {
    try {
      for (;;) {
        const message = await settled(() => this.#hosted.receive())
        if (message === null) break
        this.onmessage?.(decode(message))
      }
    } catch (error) {
      this.onerror?.(error)
    }
    this.onclose?.()
  }

  async send(message) {
    await settled(() => this.#hosted.send(encode(message)))
  }

  async close() {
    this.#hosted = { receive: async () => null, send: async () => {} }
    this.onclose?.()
  }
}

/** What takes each link that the gateway opens to `upstream`. */
function taker(upstream) {
  if (typeof upstream === 'function') return (link) => answering(upstream, link)
  if (upstream[PER_LINK] !== undefined) return async (link) => (await upstream[PER_LINK]()).connect(link)
  return shared(upstream)
}

/** Answers each message with what `handle` gives. */
function answering(handle, link) {
  link.onmessage = async (message) => {
    const answer = await handle(message, { send: (more) => link.send(more) })
    if (answer !== undefined) await link.send(answer).catch(() => {})
  }
  return link.start()
}

/** Serves `upstream` for as long as the gateway is open, or until `close()`. */
function serve(housed, upstream) {
  const take = taker(upstream)
  const serving = (async () => {
    for (;;) {
      const hosted = await settled(() => housed.receive())
      if (hosted === null) return
      await take(new Link(hosted))
    }
  })()
  serving.catch(() => {})
  return { close: () => housed.leave() }
}

module.exports = { perLink, serve }
