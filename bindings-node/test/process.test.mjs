// What can end badly is done in a process of its own.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { test } from 'node:test'

import { eventually } from './support.mjs'

const HEAD = `
import { Gateway } from ${JSON.stringify(new URL('../index.js', import.meta.url).href)}
import { fake } from ${JSON.stringify(new URL('./support.mjs', import.meta.url).href)}
async function busy() {
  const gateway = await Gateway.open()
  await gateway.registerInprocess('one', fake())
  await gateway.discover('one')
  return gateway
}
`

/** Runs a program; gives its exit code, or the signal that ended it, and what it wrote. */
function run(body, ...flags) {
  return new Promise((done) => {
    const child = spawn(process.execPath, [...flags, '--input-type=module', '-e', HEAD + body])
    let out = ''
    child.stdout.on('data', (data) => (out += data))
    child.stderr.on('data', (data) => (out += data))
    // Only so that what hangs ends: on a busy machine a thousand gateways take minutes.
    const late = setTimeout(() => child.kill('SIGKILL'), 300_000)
    child.on('close', (code, signal) => {
      clearTimeout(late)
      done({ ended: signal ?? code, out })
    })
  })
}

for (const [what, body, expected] of [
  ['an open gateway that nobody closes', 'await busy()', 0],
  ['process.exit with a call under way', "const g = await busy(); g.callTool('wait', {}, { service: 'one' }); process.exit(7)", 7],
  ['process.exit before anything is awaited', 'Gateway.open(); process.exit(3)', 3],
  ['an error that nobody catches', "const g = await busy(); await g.callTool('fail', {}, { service: 'one' })", 1],
  ['closing with a call under way', `
    const g = await Gateway.open({ config: { server: { grace_seconds: 0.001 } } })
    await g.registerInprocess('one', fake()); await g.discover('one')
    const call = g.callTool('wait', {}, { service: 'one' }).catch((error) => error.kind)
    await g.close(); console.log(await call)`, 0],
]) {
  test(`${what} ends the process as it should`, async () => {
    const { ended, out } = await run(body)
    assert.equal(ended, expected, out)
  })
}

test('a child that a gateway started ends with the process', async () => {
  const child = "process.stdin.resume(); setInterval(() => {}, 1000); process.on('SIGTERM', () => {})"
  const { ended, out } = await run(`
    const g = await Gateway.open()
    await g.register({ name: 'stdio', command: process.execPath, args: ['-e', ${JSON.stringify(child)}], auto_discover: false })
    g.discover('stdio').catch(() => {})
    const { readdirSync, readFileSync } = await import('node:fs')
    const of = (task) => readFileSync('/proc/self/task/' + task + '/children', 'utf8')
    const children = () => readdirSync('/proc/self/task').map(of).join('').trim()
    while (children() === '') await new Promise((go) => setTimeout(go, 10))
    console.log('child', children())
    process.exit(0)`)
  assert.equal(ended, 0, out)
  const pid = Number(/child (\d+)/.exec(out)?.[1])
  assert.ok(pid > 0, out)
  await eventually(() => { try { process.kill(pid, 0); return false } catch { return true } })
})

test('a gateway that nobody has any more is collected, with its threads', async () => {
  const { ended, out } = await run(`
    import { readdirSync } from 'node:fs'
    const threads = () => readdirSync('/proc/self/task').length
    const before = threads()
    await (async () => { await (await Gateway.open()).list() })()
    for (let left = 500; left > 0 && threads() > before; left -= 1) {
      await new Promise((go) => setTimeout(go, 10))
      gc()
    }
    if (threads() > before) process.exit(9)`, '--expose-gc')
  assert.equal(ended, 0, out)
})

test('a rejection that nobody handles names the error', async () => {
  const { ended, out } = await run("(await Gateway.open()).get('nobody')")
  assert.equal(ended, 1, out)
  assert.match(out, /GatewayError[^]*no such server/)
})

test('workers open and end gateways of their own, also while calls are under way', async () => {
  const { ended, out } = await run(`
    import { Worker } from 'node:worker_threads'
    const code = ${JSON.stringify(HEAD)} + "const g = await busy(); g.callTool('wait', {}, { service: 'one' }).catch(() => {});" +
      "await g.callTool('echo', { text: 'x' }, { service: 'one' }); (await import('node:worker_threads')).parentPort.postMessage('up')"
    for (let round = 0; round < 5; round += 1) {
      const workers = Array.from({ length: 3 }, () => new Worker(new URL('data:text/javascript,' + encodeURIComponent(code))))
      await Promise.all(workers.map((worker) => new Promise((go) => worker.once('message', go))))
      await Promise.all(workers.map((worker) => worker.terminate()))
    }
    console.log('over')`)
  assert.equal(ended, 0, out)
  assert.match(out, /over/)
})

test('a thousand gateways opened and closed leave no memory behind', async () => {
  const { ended, out } = await run(`
    const round = async (n) => { for (let i = 0; i < n; i += 1) { const g = await Gateway.open(); await g.list(); await g.close() } }
    const resident = () => { gc(); return process.memoryUsage().rss / 1e6 }
    await round(200)
    const before = resident()
    await round(800)
    const after = resident()
    console.log(before, after)
    if (after > before + 30) process.exit(9)`, '--expose-gc')
  assert.equal(ended, 0, out)
})
