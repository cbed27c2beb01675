'use strict'
// The gateway's HTTP surface in this process, for servers of the fetch kind and for node's own.

const native = require('./native.js')
const { settled } = require('./error.js')

/** Nobody in particular: not this machine, so that without authentication configured nobody is let in. */
const UNKNOWN = '0.0.0.0'

/** Path and query below `prefix`. */
const below = (prefix, target) => target.slice(prefix.length) || '/'

/** Sends the request's body, piece by piece. */
async function upload(exchange, body) {
  for await (const piece of body) {
    if (!(await exchange.push(Buffer.from(piece)))) return
  }
  exchange.finish()
}

/** The answer's body, piece by piece. */
async function* pieces(exchange, work) {
  for (;;) {
    const piece = await settled(() => exchange.piece(work()))
    if (piece === null) return
    yield piece
  }
}

/** A request under way, its upload begun, and what gives it up. */
function begin(gateway, method, target, headers, peer, body) {
  const exchange = gateway.exchange(method, target, headers, peer)
  let current
  const work = () => (current = new native.Work())
  const abandon = () => {
    exchange.abandon()
    current?.cancel()
  }
  upload(exchange, body).catch(abandon)
  return { exchange, work, abandon }
}

/** Handlers for servers of the fetch kind, such as Next.js. */
function createHandlers(gateway, { prefix = '', peer = () => UNKNOWN } = {}) {
  const handle = async (request) => {
    const url = new URL(request.url)
    const target = below(prefix, url.pathname) + url.search
    const { exchange, work, abandon } = begin(
      gateway, request.method, target, [...request.headers], peer(request), request.body ?? [],
    )
    request.signal.addEventListener('abort', abandon, { once: true })
    const { status, headers } = await settled(() => exchange.head(work()))
    const answered = pieces(exchange, work)
    const body = new ReadableStream({
      async pull(controller) {
        const { done, value } = await answered.next()
        if (done) controller.close()
        else controller.enqueue(new Uint8Array(value))
      },
      cancel: abandon,
    })
    return new Response([204, 304].includes(status) ? null : body, { status, headers })
  }
  return { GET: handle, POST: handle, DELETE: handle }
}

/** A handler for Express and `node:http`. */
function nodeHandler(gateway, { prefix = '', peer = (request) => request.socket.remoteAddress } = {}) {
  return async (request, response) => {
    const headers = request.rawHeaders.reduce(
      (pairs, text, at) => (at % 2 === 0 ? [...pairs, [text, request.rawHeaders[at + 1]]] : pairs), [],
    )
    const target = below(prefix, request.originalUrl ?? request.url)
    const { exchange, work, abandon } = begin(
      gateway, request.method, target, headers, peer(request), request,
    )
    response.once('close', abandon)
    try {
      const head = await settled(() => exchange.head(work()))
      response.writeHead(head.status, head.headers.flat())
      for await (const piece of pieces(exchange, work)) {
        if (!response.write(piece)) await new Promise((go) => response.once('drain', go).once('close', go))
      }
      response.end()
    } catch (error) {
      if (!response.destroyed) response.destroy(error)
    }
  }
}

module.exports = { createHandlers, nodeHandler }
