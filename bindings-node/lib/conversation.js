'use strict'
// A call during which the server talks to the caller: progress, log messages, elicitation and sampling.

const { GatewayError } = require('./error.js')

const REVISION = '2025-11-25'
const CALL = 2

const HANDLERS = ['onprogress', 'onlog', 'onelicitation', 'onsampling']

const isConversation = (options) => HANDLERS.some((name) => options[name] !== undefined)

/** Makes one call on `transport`, whose messages go to the handlers of `options`; resolves to the result. */
function converse(transport, method, params, options) {
  return new Promise((resolve, reject) => {
    const { signal, timeout } = options
    let timer
    const end = (settle, value) => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', aborted)
      transport.onclose = undefined
      transport.close().catch(() => {})
      settle(value)
    }
    const failed = (error) => end(reject, error)
    const aborted = () => {
      const cancelled = { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: CALL, reason: 'aborted' } }
      transport.send(cancelled).catch(() => {}).finally(() => failed(signal.reason))
    }
    if (signal?.aborted) return failed(signal.reason)
    signal?.addEventListener('abort', aborted, { once: true })
    if (timeout !== undefined) {
      const late = { kind: 'timeout', message: `timed out after ${timeout} ms`, context: { outcome: 'unknown' } }
      timer = setTimeout(() => failed(new GatewayError(late)), timeout)
    }
    const send = (message) => transport.send({ jsonrpc: '2.0', ...message }).catch(failed)
    transport.onclose = () => failed(new GatewayError({ kind: 'bad_upstream', message: 'the session ended before the call was answered', context: { outcome: 'unknown' } }))
    transport.onmessage = (message) => {
      if (message.method !== undefined) heard(message, options, send).catch(failed)
      else if (message.id === 1) message.error ? failed(failure(message.error)) : call()
      else if (message.id === CALL) message.error ? failed(failure(message.error)) : end(resolve, message.result)
    }
    const call = () => {
      send({ method: 'notifications/initialized' })
      if (options.onlog) send({ id: 'log', method: 'logging/setLevel', params: { level: 'debug' } })
      const meta = options.onprogress ? { _meta: { progressToken: CALL, ...params._meta } } : {}
      send({ id: CALL, method, params: { ...params, ...meta } })
    }
    const capabilities = { ...(options.onelicitation && { elicitation: {} }), ...(options.onsampling && { sampling: {} }) }
    const opening = { protocolVersion: REVISION, capabilities, clientInfo: { name: 'mcp-registry-gateway', version: '1' } }
    transport.start().then(() => send({ id: 1, method: 'initialize', params: opening }), failed)
  })
}

async function heard({ id, method, params = {} }, { onprogress, onlog, onelicitation, onsampling }, send) {
  if (method === 'notifications/progress') return onprogress?.(params)
  if (method === 'notifications/message') return onlog?.(params)
  if (id === undefined) return undefined
  if (method === 'elicitation/create' && onelicitation) return send({ id, result: elicited(await onelicitation(params)) })
  if (method === 'sampling/createMessage' && onsampling) return send({ id, result: sampled(await onsampling(params)) })
  return send({ id, error: { code: -32601, message: `this client does not answer \`${method}\`` } })
}

const elicited = (answer) =>
  answer == null ? { action: 'decline' } : 'action' in answer ? answer : { action: 'accept', content: answer }

const sampled = (answer) =>
  typeof answer === 'string' ? { role: 'assistant', model: 'unknown', content: { type: 'text', text: answer } } : answer

/** The error of a JSON-RPC error: the gateway's own has its kind in `data`. */
function failure({ code, message, data }) {
  const { source, kind, retryable, ...context } = data !== null && typeof data === 'object' && !Array.isArray(data) ? data : {}
  if (source === 'gateway') return new GatewayError({ kind, message, retryable, context })
  return new GatewayError({ kind: 'bad_upstream', message, context: { code, ...(data === undefined ? {} : { data: JSON.stringify(data) }) } })
}

module.exports = { HANDLERS, converse, isConversation }
