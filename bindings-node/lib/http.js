'use strict'
// The gateway's HTTP surface in this process, for servers of the fetch kind and for node's own.

const native = require('./native.js')
const { checked } = require('./documents.js')
const { settled, sync } = require('./error.js')

/** Answers that have no body (Fetch, section 2.2.3). */
const BODILESS = [101, 103, 204, 205, 304]

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']

/** The error of an application that reads bodies in front of the gateway and keeps nothing of them. */
const READ = "the request's body was read before the gateway could; put its handler in front of the middleware that reads bodies, such as express.json()"

/** The parts of the mount; `connected` where peers are those of connections. */
function mounted({ expose = [], trust }, connected) {
  if (trust === 'development' && process.env.NODE_ENV === 'production') {
    throw new TypeError("`trust: 'development'` makes strangers the gateway's administrator, and NODE_ENV is 'production'; leave it out and open the gateway with `auth`, such as `{ auth: { api_keys: true } }`")
  }
  return sync(() => new native.Mount(expose, trust, connected))
}

/** `/api` for `api`, `/api/` and `/api`. */
const normalized = (prefix) => `/${prefix}`.replace(/\/+/g, '/').replace(/\/$/, '')

/** Path and query below `prefix`. */
function below(prefix, target) {
  const within = prefix !== '' && target.startsWith(prefix) && /^([/?]|$)/.test(target.slice(prefix.length))
  const [path, query] = split(within ? target.slice(prefix.length) : target)
  return (path.replace(/\/+$/, '') || '/') + query
}

function split(target) {
  const at = target.indexOf('?')
  return at < 0 ? [target, ''] : [target.slice(0, at), target.slice(at)]
}

/** Sends the request's body, piece by piece, while the gateway wants it. */
async function upload(exchange, body) {
  for await (const piece of body) {
    if (!(await settled(() => exchange.push(Buffer.from(piece))))) return
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

/** A request in progress, its upload begun, and the function that gives it up. */
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

/** Proxies and compressing middleware hold events back unless they are told not to. */
function streaming(headers) {
  const type = headers.find(([name]) => name.toLowerCase() === 'content-type')?.[1] ?? ''
  if (!type.startsWith('text/event-stream')) return headers
  return [...headers.filter(([name]) => name.toLowerCase() !== 'cache-control'), ['cache-control', 'no-cache, no-transform'], ['x-accel-buffering', 'no']]
}

/** The answer of a gateway that cannot take requests. */
function unavailable(error) {
  const data = { source: 'gateway', kind: 'unavailable', retryable: false }
  const body = JSON.stringify({ jsonrpc: '2.0', id: null, error: { code: -31503, message: error.message, data } })
  return { status: 503, headers: { 'content-type': 'application/json', 'retry-after': '1' }, body }
}

const isUnavailable = (error) => error?.name === 'GatewayError' && error.kind === 'unavailable'

/** Handlers for servers of the fetch kind, such as Next.js and Hono. */
function createHandlers(gateway, options = {}) {
  const { prefix = '', peer = () => undefined, ...mount } = checked('`createHandlers`', options, ['prefix', 'peer', 'expose', 'trust'])
  const place = normalized(prefix)
  const parts = mounted(mount, false)
  const handle = async (given, context) => {
    // Hono hands its context over, which has the request as `req.raw`.
    const request = given instanceof Request ? given : (given?.req?.raw ?? given)
    request.signal?.throwIfAborted()
    const url = new URL(request.url)
    try {
      return await answered(await gateway, request, url, context)
    } catch (error) {
      if (!isUnavailable(error)) throw error
      const { status, headers, body } = unavailable(error)
      return new Response(body, { status, headers })
    }
  }
  const answered = async (opened, request, url, context) => {
    const headers = [...request.headers]
    // A request that was constructed has no `Host`.
    if (!request.headers.has('host')) headers.push(['host', url.host])
    const { exchange, work, abandon } = begin(opened, {
      mount: parts,
      method: request.method,
      target: below(place, url.pathname + url.search),
      headers,
      peer: peer(request, context),
      body: request.body ?? [],
    })
    request.signal?.addEventListener('abort', abandon, { once: true })
    const head = await settled(() => exchange.head(work()))
    const body = pieces(exchange, work)
    const stream = new ReadableStream({
      async pull(controller) {
        const { done, value } = await body.next()
        if (done) controller.close()
        else controller.enqueue(new Uint8Array(value))
      },
      cancel: abandon,
    })
    return new Response(BODILESS.includes(head.status) ? null : stream, { status: head.status, headers: streaming(head.headers) })
  }
  return { ...Object.fromEntries(METHODS.map((method) => [method, handle])), fetch: handle }
}

/** The streams that are open at each server of node's own: they end when the server is closed, so that they do not hold it up. */
const streamsOf = new WeakMap()

function watched(server) {
  if (server === undefined || typeof server.close !== 'function') return new Set()
  let streams = streamsOf.get(server)
  if (streams === undefined) {
    streams = new Set()
    streamsOf.set(server, streams)
    const close = server.close
    server.close = function (...args) {
      const closing = close.apply(this, args)
      for (const end of streams) end()
      this.closeIdleConnections?.()
      return closing
    }
  }
  return streams
}

/** The body: as it comes, or as a middleware has left it on the request. */
function bodyOf(request) {
  const { body } = request
  if (!request.readableEnded && !request.readableDidRead) return request.iterator({ destroyOnReturn: false })
  if (body === undefined) {
    if (request.method === 'GET' || request.method === 'HEAD' || request.method === 'DELETE') return []
    throw new TypeError(READ)
  }
  if (Buffer.isBuffer(body) || typeof body === 'string') return [Buffer.from(body)]
  return [Buffer.from(JSON.stringify(body))]
}

/** A handler for Express and `node:http`. */
function nodeHandler(gateway, options = {}) {
  const { prefix = '', peer, ...mount } = checked('`nodeHandler`', options, ['prefix', 'peer', 'expose', 'trust'])
  const place = normalized(prefix)
  const parts = mounted(mount, peer === undefined)
  const from = peer ?? ((request) => request.socket.remoteAddress)
  return async (request, response, next = (error) => response.destroy(error)) => {
    try {
      // Who wants no more of the body may answer all the same.
      const body = bodyOf(request)
      const { exchange, work, abandon } = begin(await gateway, {
        mount: parts,
        method: request.method,
        target: below(place, request.originalUrl ?? request.url),
        headers: bodily(pairs(request.rawHeaders), body),
        peer: from(request),
        body,
      })
      response.once('close', abandon)
      const head = await settled(() => exchange.head(work()))
      response.writeHead(head.status, streaming(head.headers).flat())
      response.flushHeaders()
      await sent(response, request, pieces(exchange, work), abandon)
    } catch (error) {
      if (response.headersSent || response.destroyed) response.destroy(error)
      else if (isUnavailable(error)) refuse(response, unavailable(error))
      else next(error)
    }
  }
}

/** Writes the answer's body; a stream ends when its server is closed. */
async function sent(response, request, body, abandon) {
  const streams = watched(request.socket?.server)
  let ended = false
  const end = () => {
    ended = true
    abandon()
    response.end()
  }
  const isStream = String(response.getHeader?.('content-type') ?? '').startsWith('text/event-stream') || request.method === 'GET'
  if (isStream) streams.add(end)
  try {
    for await (const piece of body) {
      if (!response.write(piece)) await drained(response)
      // Middleware that compresses holds pieces back until it is told.
      response.flush?.()
    }
    response.end()
  } catch (error) {
    if (!ended) throw error
  } finally {
    streams.delete(end)
  }
}

function refuse(response, { status, headers, body }) {
  response.writeHead(status, headers)
  response.end(body)
}

/** The headers; a body that was written anew has another length. */
const bodily = (headers, body) =>
  Array.isArray(body)
    ? [...headers.filter(([name]) => !/^(content-length|transfer-encoding|content-encoding)$/i.test(name)), ...(body.length ? [['content-length', String(body[0].length)]] : [])]
    : headers

/** Names and values that stand one after the other, two by two. */
const pairs = (flat) => Array.from({ length: flat.length / 2 }, (_, at) => [flat[2 * at], flat[2 * at + 1]])

/** Until more can be written, or the client has gone. */
const drained = (response) =>
  new Promise((go) => {
    const done = () => { response.off('drain', done).off('close', done); go() }
    response.on('drain', done).on('close', done)
  })

module.exports = { createHandlers, nodeHandler, normalized }
