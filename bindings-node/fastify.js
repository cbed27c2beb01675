'use strict'

const { nodeHandler, normalized } = require('./lib/http.js')

/**
 * The gateway's MCP endpoints as a plugin: `app.register(mcpGateway, { gateway, prefix: '/mcp' })`.
 *
 * The plugin leaves bodies to the gateway; routes outside of it keep Fastify's own parsers.
 */
async function mcpGateway(app, { gateway, prefix = '', ...options }) {
  if (gateway === undefined) throw new TypeError('`mcpGateway` needs `{ gateway }`')
  const place = normalized(prefix)
  // Below `/mcp` stands the gateway's own `/mcp`; below any other prefix the whole of its surface.
  const handler = nodeHandler(gateway, { ...options, prefix: place.endsWith('/mcp') ? place.slice(0, -'/mcp'.length) : place })
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', (_request, _payload, done) => done(null))
  app.all('/*', { exposeHeadRoute: false }, answer)
  app.all('/', { exposeHeadRoute: false }, answer)
  async function answer(request, reply) {
    reply.hijack()
    await handler(request.raw, reply.raw, (error) => {
      request.log.error(error)
      reply.raw.writeHead(500, { 'content-type': 'application/json' })
      reply.raw.end(JSON.stringify({ error: { code: 'INTERNAL_ERROR', message: String(error?.message) } }))
    })
  }
}

module.exports = { mcpGateway }
