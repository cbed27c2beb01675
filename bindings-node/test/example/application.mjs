// The example for Next.js as a process: `next dev`, or `next build` and `next start`, on a free port.

import { spawn, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'

import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'

import { eventually } from '../support.mjs'

export const { NEXT_EXAMPLE: folder, CHROMIUM: chromium, SCREENSHOT: screenshot } = process.env
export const patience = { timeout: 60_000 }

const program = join(folder, 'node_modules/next/dist/bin/next')
const environment = (mode) => ({ ...process.env, NEXT_TELEMETRY_DISABLED: '1', NODE_ENV: mode })

/** A port that nobody has. */
const freePort = () => new Promise((go) => {
  const probe = createServer().listen(0, '127.0.0.1', () => {
    const { port } = probe.address()
    probe.close(() => go(port))
  })
})

/** Builds the application; what was said where that failed. */
export function build() {
  const built = spawnSync(process.execPath, [program, 'build'], { cwd: folder, env: environment('production'), encoding: 'utf8' })
  return built.status === 0 ? undefined : `${built.stdout}${built.stderr}`
}

/** Starts the application by `dev` or `start`: `{ url, fetched, end }`. */
export async function started(command, mode) {
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const options = { cwd: folder, env: environment(mode), detached: true, stdio: 'ignore' }
  const next = spawn(process.execPath, [program, command, '--hostname', '127.0.0.1', '--port', String(port)], options)
  const fetched = async (query = '') => (await fetch(`${url}/${query}`)).text()
  // With the processes that it has started.
  const end = () => process.kill(-next.pid, 'SIGKILL')
  await eventually(() => fetched().then(() => true, () => false), 6000).catch((late) => {
    end()
    throw late
  })
  return { url, fetched, end }
}

/** The key that the application has made for MCP clients. */
export const key = () => readFileSync(join(folder, '.gateway-key'), 'utf8')

/** An MCP client of the application. */
export async function connected(url) {
  const client = new Client({ name: 'test', version: '1' })
  const requestInit = { headers: { authorization: `Bearer ${key()}` } }
  await client.connect(new StreamableHTTPClientTransport(new URL(`${url}/mcp`), { requestInit }))
  return client
}

/** The statuses that a stranger gets who calls the gateway's own tools, the administration and what else there is, and what was run. */
export async function attacked(url) {
  const shell = { name: 'evil', command: '/bin/sh', args: ['-c', 'exit 0'] }
  const call = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'gateway__register_server', arguments: shell } }
  const headers = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' }
  const post = async (path, body, more = {}) => {
    const sent = { method: 'POST', headers: { ...headers, ...more }, body: JSON.stringify(body) }
    const response = await fetch(`${url}${path}`, sent)
    return [response.status, await response.text()]
  }
  const strangers = []
  for (const path of ['/mcp', '/mcp/proxy', '/mcp/gateway', '/mcp/sums']) {
    for (const more of [{}, { 'x-forwarded-for': '127.0.0.1' }]) strangers.push((await post(path, call, more))[0])
  }
  const known = await post('/mcp/proxy', call, { authorization: `Bearer ${key()}` })
  return { strangers, known }
}

/** A page in a browser, which keeps what goes wrong in it. */
export async function opened(url, context) {
  const { default: puppeteer } = await import('puppeteer-core')
  const browser = await puppeteer.launch({ executablePath: chromium, args: ['--no-sandbox', '--disable-gpu'] })
  context.after(() => browser.close())
  const page = await browser.newPage()
  const wrong = []
  page.on('pageerror', (error) => wrong.push(String(error)))
  await page.goto(url, patience)
  const shown = (selector) => page.$eval(selector, (element) => element.textContent)
  return { page, wrong, shown }
}

/** Types two numbers and sends them. */
export async function add(page, ...numbers) {
  for (const [name, digits] of [['a', numbers[0]], ['b', numbers[1]]]) {
    await page.click(`input[name=${name}]`, { count: 3 })
    await page.type(`input[name=${name}]`, digits)
  }
  await Promise.all([page.waitForNavigation(patience), page.click('button')])
}
