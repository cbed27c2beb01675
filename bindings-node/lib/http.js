'use strict'
// The gateway's HTTP surface in this process, for servers of the fetch kind and for node's own.

const native = require('./native.js')
const { settled, sync } = require('./error.js')

/** Answers that have no body (Fetch, section 2.2.3). */
const BODILESS = [101, 103, 204, 205, 304]

/** What is wrong with an application that reads bodies in front of the gateway. */
const READ = "the request's body was read before the gateway could; put its handler in front of what reads bodies, such as express.json()"

/** As what the handlers are mounted; `connected` where peers are those of connections. */
function mounted({ expose = [], trust }, connected) {
  if (trust === 'development' && process.env.NODE_ENV === 'production') {
    throw new TypeError("`trust: 'development'` makes strangers the gateway's administrator, and NODE_ENV is 'production'; leave it out and open the gateway with `auth`, such as `{ auth: { api_keys: true } }`")
  }
  return sync(() => new native.Mount(expose, trust, connected))
}

/** Path and query below `prefix`. */
const below = (prefix, target) => (target.startsWith(prefix) ? target.slice(prefix.length) : target)

/** Sends the request's body, piece by piece, while somebody wants it. */
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
function begin(gateway, { mount, method, target, headers, peer, body }) {
  const exchange = gateway.exchange(mount, method, target, headers, peer)
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
function createHandlers(gateway, { prefix = '', peer = () => undefined, ...options } = {}) {
  const mount = mounted(options, false)
  const handle = async (request) => {
    const opened = await gateway
    request.signal.throwIfAborted()
    const url = new URL(request.url)
    const { exchange, work, abandon } = begin(opened, {
      mount,
      method: request.method,
      target: below(prefix, url.pathname) + url.search,
      headers: [...request.headers],
      peer: peer(request),
      body: request.body ?? [],
    })
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
    return new Response(BODILESS.includes(status) ? null : body, { status, headers })
  }
  return { GET: handle, HEAD: handle, POST: handle, PUT: handle, DELETE: handle, OPTIONS: handle }
}

/** A handler for Express and `node:http`. */
function nodeHandler(gateway, { prefix = '', peer, ...options } = {}) {
  const mount = mounted(options, peer === undefined)
  const from = peer ?? ((request) => request.socket.remoteAddress)
  return async (request, response, next = (error) => response.destroy(error)) => {
    try {
      if (request.readableEnded) throw new TypeError(READ)
      const { exchange, work, abandon } = begin(await gateway, {
        mount,
        method: request.method,
        target: below(prefix, request.originalUrl ?? request.url),
        headers: pairs(request.rawHeaders),
        peer: from(request),
        // Who wants no more of it may answer all the same.
        body: request.iterator({ destroyOnReturn: false }),
      })
      response.once('close', abandon)
      const head = await settled(() => exchange.head(work()))
      response.writeHead(head.status, head.headers.flat())
      response.flushHeaders()
      for await (const piece of pieces(exchange, work)) {
        if (!response.write(piece)) await drained(response)
      }
      response.end()
    } catch (error) {
      if (response.headersSent || response.destroyed) response.destroy(error)
      else next(error)
    }
  }
}

/** Names and values that stand one after the other, two by two. */
const pairs = (flat) => Array.from({ length: flat.length / 2 }, (_, at) => [flat[2 * at], flat[2 * at + 1]])

/** Until more can be written, or nobody reads any more. */
const drained = (response) =>
  new Promise((go) => {
    const done = () => { response.off('drain', done).off('close', done); go() }
    response.on('drain', done).on('close', done)
  })

module.exports = { createHandlers, nodeHandler }
