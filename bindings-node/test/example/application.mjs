// The example for Next.js as a program.

import { spawn, spawnSync } from 'node:child_process'
import { createServer } from 'node:net'
import { join } from 'node:path'

import { eventually } from '../support.mjs'

export const folder = process.env.NEXT_EXAMPLE
const program = join(folder, 'node_modules/next/dist/bin/next')
const quiet = { ...process.env, NEXT_TELEMETRY_DISABLED: '1' }

/** A port that nobody has. */
const freePort = () => new Promise((go) => {
  const probe = createServer().listen(0, '127.0.0.1', () => {
    const { port } = probe.address()
    probe.close(() => go(port))
  })
})

/** Builds it for production; what that said. */
export function build() {
  const env = { ...quiet, NODE_ENV: 'production' }
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, 'build'], { cwd: folder, env, encoding: 'utf8' })
  return { status, said: stdout + stderr }
}

/** Starts it, for development (`dev`) or as it was built (`start`). */
export async function started(command) {
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const fetched = async (query = '') => (await fetch(`${url}/${query}`)).text()
  const env = { ...quiet, NODE_ENV: command === 'dev' ? 'development' : 'production' }
  const next = spawn(process.execPath, [program, command, '--hostname', '127.0.0.1', '--port', String(port)], { cwd: folder, env, detached: true, stdio: 'ignore' })
  // With the processes that it has started.
  const stop = () => process.kill(-next.pid, 'SIGKILL')
  await eventually(() => fetched().then(() => true, () => false), 6000).catch((error) => { stop(); throw error })
  return { url, fetched, stop }
}
