// What the tests share: a server of this process that answers by itself.

import { Gateway } from '../index.js'

const INITIALIZED = {
  capabilities: { tools: { listChanged: true } },
  serverInfo: { name: 'fake', version: '1' },
}

const TOOLS = ['echo', 'wait', 'fail'].map((name) => ({ name, inputSchema: { type: 'object' } }))

/** Answers as an MCP server of the legacy era; `seen` takes what it was sent. */
export function fake(seen = []) {
  return async (message) => {
    seen.push(message)
    const result = (result) => ({ jsonrpc: '2.0', id: message.id, result })
    const error = (code, text) => ({ jsonrpc: '2.0', id: message.id, error: { code, message: text } })
    if (message.id === undefined) return undefined
    switch (message.method) {
      case 'initialize':
        return result({ protocolVersion: message.params.protocolVersion, ...INITIALIZED })
      case 'ping':
        return result({})
      case 'tools/list':
        return result({ tools: TOOLS })
      case 'tools/call':
        if (message.params.name === 'wait') return new Promise(() => {})
        if (message.params.name === 'fail') return error(-32602, 'no good')
        return result({ content: [{ type: 'text', text: message.params.arguments.text }], 'x-vendor': 1e400 > 1 })
      default:
        return error(-32601, 'Method not found')
    }
  }
}

/** A gateway with the fake as service `one`, and what the fake was sent. */
export async function withFake(options) {
  const gateway = await Gateway.open(options)
  const seen = []
  await gateway.registerInprocess('one', fake(seen))
  await gateway.discover('one')
  return { gateway, seen }
}

/** Polls until `check` is true, every ten milliseconds, so often at most. */
export async function eventually(check, times = 1000) {
  for (let left = times; left > 0; left -= 1) {
    if (await check()) return
    await new Promise((go) => setTimeout(go, 10))
  }
  throw new Error(`it did not come true in ${times} looks`)
}
