'use strict'

/** What the gateway says went wrong. Act on `kind`. */
class GatewayError extends Error {
  constructor({ kind, message, retryable, context }) {
    super(message)
    this.kind = kind
    this.retryable = retryable
    this.context = context
  }

  toJSON() {
    const { kind, message, retryable, context } = this
    return { kind, message, retryable, context }
  }
}
Object.defineProperty(GatewayError.prototype, 'name', { value: 'GatewayError', writable: true, configurable: true })

/** An error of the addon's: the core's carry their document as the message. */
const raised = (error) =>
  error instanceof Error && error.message.startsWith('{"') ? new GatewayError(JSON.parse(error.message)) : error

/** What `work` gives, with errors as they are meant. */
function sync(work) {
  try {
    return work()
  } catch (error) {
    throw raised(error)
  }
}

/** What the promise of `work` gives, with errors as they are meant. */
async function settled(work) {
  try {
    return await work()
  } catch (error) {
    throw raised(error)
  }
}

module.exports = { GatewayError, settled, sync }
