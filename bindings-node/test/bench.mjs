// What the Node face costs, judged: `bindings-node/test/run --bench` builds what it needs and runs it. Ends with 1 if a bound is passed.
//
// `callTool`, at a server that answers in Rust, costs at most 60 µs of CPU more than the same call made in Rust, in the same run. What
// `pick()` takes is printed. The best of several rounds counts: what else the machine does only ever adds.

import { createRequire } from 'node:module'

import { Gateway } from '../index.js'

const native = createRequire(import.meta.url)('../lib/native.js')
const ROUNDS = 5
const TIMES = 2000
const BOUND = 60

/** Nanoseconds of one. */
function each(work) {
  const rounds = Array.from({ length: ROUNDS }, () => {
    const began = process.hrtime.bigint()
    for (let left = 100_000; left > 0; left -= 1) work()
    return Number(process.hrtime.bigint() - began) / 100_000
  })
  return Math.min(...rounds)
}

/** Microseconds of CPU of one of so many. */
async function cpu(work) {
  const before = process.cpuUsage()
  await work()
  const { user, system } = process.cpuUsage(before)
  return (user + system) / TIMES
}

const handle = await native.Gateway.open(Buffer.from('{}'))
const gateway = new Gateway(handle)
handle.houseEcho('echo')

const bare = each(() => gateway.isClosed)
const pick = each(() => gateway.pick('echo').release())
console.log(`a call that does nothing ${bare.toFixed(0)} ns, pick and release ${pick.toFixed(0)} ns`)

const document = Buffer.from(JSON.stringify({ name: 'echo__echo', arguments: { text: 'a' } }))
const rust = []
const node = []
for (let round = 0; round < ROUNDS; round += 1) {
  rust.push(await cpu(() => handle.performOften('call_tool', document, TIMES)))
  node.push(await cpu(async () => {
    for (let left = TIMES; left > 0; left -= 1) await gateway.callTool('echo__echo', { text: 'a' })
  }))
}
await gateway.close()
const over = Math.min(...node) - Math.min(...rust)
console.log(`callTool: in Rust ${Math.min(...rust).toFixed(1)} µs of CPU, from JavaScript ${Math.min(...node).toFixed(1)}`)
console.log(`${over <= BOUND ? 'ok  ' : 'MISS'}  callTool, over Rust: ${over.toFixed(2)} µs of CPU (at most ${BOUND})`)
process.exitCode = over <= BOUND ? 0 : 1
