'use strict'
// An MCP server of this process as an upstream: each link that the gateway opens is a transport of the server's.

const { ServerConnection } = require('./link.js')
const { shared } = require('./shared.js')

const PER_LINK = Symbol.for('mcp-registry-gateway.perLink')

/** An upstream that is made anew for each link of the gateway: `perLink(() => new McpServer(…))`. */
const perLink = (make) => ({ [PER_LINK]: make })

const connects = (value) => typeof value?.connect === 'function'

/** A function that takes each link of the gateway to `upstream`. */
async function taker(upstream) {
  if (typeof upstream === 'function') {
    // `() => new McpServer(…)` takes nothing, and makes a server; a function that answers takes a message.
    if (upstream.length > 0) return (link) => answering(upstream, link)
    const first = await upstream()
    if (!connects(first)) {
      throw new TypeError('a function without parameters must return an MCP server; one that answers messages takes the message')
    }
    let made = first
    return async (link) => {
      const server = made ?? (await upstream())
      made = undefined
      return server.connect(link)
    }
  }
  if (upstream?.[PER_LINK] !== undefined) return async (link) => (await upstream[PER_LINK]()).connect(link)
  if (!connects(upstream)) {
    throw new TypeError("`upstream` must be an SDK's server, a function that returns one, or a function that answers messages")
  }
  return shared(upstream)
}

/** Answers each message with the value of `handle`, and with an error if it throws. */
function answering(handle, link) {
  const answer = async (message) => {
    try {
      return await handle(message, { send: (more) => link.send(more) })
    } catch (error) {
      return { jsonrpc: '2.0', id: message.id, error: { code: -32603, message: String(error?.message) } }
    }
  }
  link.onmessage = async (message) => {
    const said = await answer(message)
    // The link may be closed by now.
    if (message.id !== undefined && said !== undefined) await link.send(said).catch(() => {})
  }
  return link.start()
}

/** Serves `take` with links for as long as the gateway is open, or until `close()`. */
function serve(housed, take, { onerror } = {}) {
  const links = new Set()
  housed.listen((hosted) => {
    if (hosted === null) return
    const link = new ServerConnection(hosted, () => links.delete(link))
    links.add(link)
    Promise.resolve().then(() => take(link)).catch((error) => {
      onerror?.(error)
      return link.close()
    })
  })
  const close = () => {
    housed.leave()
    for (const link of links) link.close()
  }
  return { close }
}

module.exports = { perLink, serve, taker }
