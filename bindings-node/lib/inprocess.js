'use strict'
// An MCP server of this process as an upstream: each link that the gateway opens is a transport of the server's.

const { Visit } = require('./link.js')
const { shared } = require('./shared.js')

const PER_LINK = Symbol.for('mcp-registry-gateway.perLink')

/** An upstream that is made anew for each link of the gateway: `perLink(() => new McpServer(…))`. */
const perLink = (make) => ({ [PER_LINK]: make })

/** What takes each link that the gateway opens to `upstream`. */
async function taker(upstream) {
  if (typeof upstream === 'function') return (link) => answering(upstream, link)
  if (upstream[PER_LINK] !== undefined) return async (link) => (await upstream[PER_LINK]()).connect(link)
  return shared(upstream)
}

/** Answers each message with what `handle` gives, and with an error if it throws. */
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

/** Serves what `take` takes links to, for as long as the gateway is open, or until `close()`. */
function serve(housed, take) {
  const links = new Set()
  housed.listen((hosted) => {
    if (hosted === null) return
    const link = new Visit(hosted, () => links.delete(link))
    links.add(link)
    take(link).catch(() => link.close())
  })
  const close = () => {
    housed.leave()
    for (const link of links) link.close()
  }
  return { close }
}

module.exports = { perLink, serve, taker }
