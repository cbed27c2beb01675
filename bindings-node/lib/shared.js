'use strict'
// One server object for all links: an SDK's server has one transport, so that ids and progress tokens of the links are
// told apart by a number in front.

/** Connects `server`; gives what takes each link to it. */
async function shared(server) {
  const links = new Map()
  let last = 0
  let newest
  const hub = {
    start: async () => {},
    close: async () => hub.onclose?.(),
    send: async (message, { relatedRequestId } = {}) => {
      const asked = message.id !== undefined && message.method === undefined ? message.id : relatedRequestId
      const to = asked === undefined ? undefined : split(asked)
      if (message.method === undefined) return links.get(to?.link)?.send({ ...message, id: to?.id })
      const params = told(message)
      const named = params === undefined ? to?.link : params.link
      const targets = named === undefined && message.id === undefined ? [...links.values()] : [links.get(named ?? newest)]
      await Promise.all(targets.map((link) => link?.send(params?.message ?? message)))
    },
  }
  await server.connect(hub)
  return async (link) => {
    const number = ++last
    newest = number
    links.set(number, link)
    link.onclose = () => links.delete(number)
    link.onmessage = (message) => hub.onmessage?.(marked(number, message))
    await link.start()
  }
}

const mark = (link, id) => `${link}/${JSON.stringify(id)}`

function split(marked) {
  const at = String(marked).indexOf('/')
  return { link: Number(String(marked).slice(0, at)), id: JSON.parse(String(marked).slice(at + 1)) }
}

/** A message of link `number` as the server gets it. */
function marked(number, message) {
  if (message.method === 'notifications/cancelled') {
    return { ...message, params: { ...message.params, requestId: mark(number, message.params.requestId) } }
  }
  if (message.method === undefined || message.id === undefined) return message
  const token = message.params?._meta?.progressToken
  const params =
    token === undefined
      ? message.params
      : { ...message.params, _meta: { ...message.params._meta, progressToken: mark(number, token) } }
  return { ...message, id: mark(number, message.id), ...(params === undefined ? {} : { params }) }
}

/** A progress notification of the server's as its link gets it, and which that is. */
function told(message) {
  if (message.method !== 'notifications/progress') return undefined
  const { link, id } = split(message.params.progressToken)
  return { link, message: { ...message, params: { ...message.params, progressToken: id } } }
}

module.exports = { shared }
