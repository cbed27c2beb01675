'use strict'

/** HTTP-like codes of Node's own errors, by the kind of the gateway's. */
const CODES = { timeout: 'ETIMEDOUT', cancelled: 'ABORT_ERR' }

/** Facts that are numbers. */
const NUMBERS = new Set(['retry_after_seconds', 'code', 'exit_code', 'status', 'upstream_status', 'limit', 'elapsed_ms', 'queued'])

const numbered = (context) =>
  Object.fromEntries(
    Object.entries(context).map(([key, value]) => [
      key,
      NUMBERS.has(key) && typeof value === 'string' && value.trim() !== '' && Number.isFinite(Number(value)) ? Number(value) : value,
    ]),
  )

/** A failure that the gateway reports. Act on `kind` or `code`. */
class GatewayError extends Error {
  #said

  constructor({ kind = 'internal', message = '', retryable = false, context = {}, cause } = {}) {
    const { field } = context
    super(field && !message.includes(field) ? `${message} (\`${field}\`)` : message, cause === undefined ? undefined : { cause })
    this.#said = message
    this.kind = kind
    this.code = CODES[kind] ?? `ERR_GATEWAY_${kind.toUpperCase()}`
    this.retryable = retryable
    this.context = numbered(context)
  }

  toJSON() {
    const { kind, retryable, context } = this
    return { kind, message: this.#said, retryable, context: Object.fromEntries(Object.entries(context).map(([key, value]) => [key, typeof value === 'number' && key === 'code' ? String(value) : value])) }
  }
}
Object.defineProperty(GatewayError.prototype, 'name', { value: 'GatewayError', writable: true, configurable: true })

/** A tool reported an error: its result has `isError`. */
class ToolError extends GatewayError {
  constructor(tool, result) {
    const text = (result.content ?? []).filter(({ type }) => type === 'text').map(({ text }) => text).join('\n')
    super({ kind: 'tool', message: `${tool}: ${text || 'the tool reported an error without a text'}`, context: { tool } })
    this.tool = tool
    this.result = result
  }
}
Object.defineProperty(ToolError.prototype, 'name', { value: 'ToolError', writable: true, configurable: true })

/** An error of the addon's: the core's carry their document as the message. */
function raised(error) {
  if (!(error instanceof Error) || !error.message.startsWith('{"')) return error
  try {
    return new GatewayError(JSON.parse(error.message))
  } catch {
    return error
  }
}

/** The value of `work`, which calls the addon. */
function sync(work) {
  try {
    return work()
  } catch (error) {
    throw raised(error)
  }
}

/** The value of the promise of `work`, which calls the addon. */
async function settled(work) {
  try {
    return await work()
  } catch (error) {
    throw raised(error)
  }
}

module.exports = { GatewayError, ToolError, settled, sync }
