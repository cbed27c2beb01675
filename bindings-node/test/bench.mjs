// What the Node face costs: `node bindings-node/test/bench.mjs` with an addon that was built for release.
//
// Prints a plain call into the addon, `pick()` beside it, and `callTool` to a server of this process.

import { Gateway } from '../index.js'
import { fake } from './support.mjs'

const CALLS = 5000

/** Nanoseconds of one of many. */
function each(times, work) {
  const began = process.hrtime.bigint()
  for (let left = times; left > 0; left -= 1) work()
  return Number(process.hrtime.bigint() - began) / times
}

const gateway = await Gateway.open()
await gateway.registerInprocess('own', fake())
await gateway.discover('own')

const bare = each(200_000, () => gateway.isClosed)
const pick = each(200_000, () => gateway.pick('own').release())
console.log(`a plain call ${bare.toFixed(0)} ns, pick and release ${pick.toFixed(0)} ns, ${(pick / bare).toFixed(1)} times as much`)

const before = process.cpuUsage()
for (let n = 0; n < CALLS; n += 1) await gateway.callTool('echo', { text: 'a' }, { service: 'own' })
const { user, system } = process.cpuUsage(before)
console.log(`callTool to a server of this process ${((user + system) / CALLS).toFixed(0)} µs of CPU`)
await gateway.close()
