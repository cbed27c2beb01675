// One behaviour over all faces: the cases of `tests/vectors`, over this one.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { appendFileSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { after, before, test } from 'node:test'

import { Gateway } from '../index.js'

const VECTORS = new URL('../../tests/vectors/', import.meta.url)
const DEAD = 'http://127.0.0.1:9/mcp'
const QUIET = { auto_discover: false, health_check: { enabled: false } }
const read = (name) => JSON.parse(readFileSync(new URL(name, VECTORS), 'utf8'))

let program
let fake

const { FAKE_MCP_SERVER, VECTORS_TABLE } = process.env

/** Notes for `tests/vectors/table` that a case holds, or that none was run yet. */
function note(name) {
  if (VECTORS_TABLE === undefined) return
  if (name === undefined) writeFileSync(`${VECTORS_TABLE}/node`, '')
  else appendFileSync(`${VECTORS_TABLE}/node`, `${name}\tok\n`)
}

before(async () => {
  note()
  program = spawn(FAKE_MCP_SERVER, ['--http'])
  fake = await new Promise((go) => createInterface(program.stdout).once('line', go))
})

after(() => program.kill())

/** What of `expected` is not in `found`. */
function missing(at, expected, found) {
  if (expected === '*') return undefined
  const both = Array.isArray(expected) === Array.isArray(found)
  if (expected === null || typeof expected !== 'object' || found === null || typeof found !== 'object' || !both) {
    return expected === found ? undefined : `${at}: expected ${JSON.stringify(expected)}, found ${JSON.stringify(found)}`
  }
  if (Array.isArray(expected) && expected.length !== found.length) {
    return `${at}: expected ${JSON.stringify(expected)}, found ${JSON.stringify(found)}`
  }
  return Object.keys(expected).map((key) => missing(`${at}/${key}`, expected[key], found[key])).find(Boolean)
}

const opened = ({ data_dir: dataDir, ...others } = {}) => Gateway.open({ ...others, dataDir })

for (const file of readdirSync(new URL('api/', VECTORS)).sort()) {
  for (const { name, open, servers = {}, steps } of read(`api/${file}`).cases) {
    test(`${file}: ${name}`, async () => {
      const gateway = await opened(open)
      for (const [server, { dead = false, service }] of Object.entries(servers)) {
        await gateway.register({ name: server, endpoint_url: dead ? DEAD : fake, service, ...QUIET })
        if (!dead) await gateway.discover(server)
      }
      for (const [number, { verb, input, gives, fails }] of steps.entries()) {
        const outcome = await gateway.perform(verb, input).then(
          (found) => ({ expected: gives, found }),
          (error) => ({ expected: fails, found: JSON.parse(JSON.stringify(error)) }),
        )
        assert.ok(outcome.expected, `step ${number}, ${verb}: ${JSON.stringify(outcome.found)}`)
        assert.equal(missing(`step ${number}, ${verb}`, outcome.expected, outcome.found), undefined)
      }
      await gateway.close()
      note(name)
    })
  }
}

test('the same key reaches the same server as from Rust', async () => {
  // The larger ones take long to register, and are shown in Rust.
  const cases = read('decisions/consistent_hash.json').cases.filter((one) => one.servers.length <= 100)
  assert.ok(cases.length > 2)
  for (const { servers, keys } of cases) {
    const configuration = { algorithm: 'consistent_hash' }
    const gateway = await Gateway.open({
      servers: servers.map((server) => ({ ...server, endpoint_url: DEAD, service: 's', configuration, ...QUIET })),
    })
    for (const { key, servers: expected } of keys) {
      const lease = gateway.pick('s', key)
      assert.equal(lease.name, expected[0])
      lease.release()
    }
    await gateway.close()
  }
})
