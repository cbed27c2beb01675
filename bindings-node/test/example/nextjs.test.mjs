// The example for Next.js as a person sees it: a browser opens the page, adds two numbers, and stays on it while a file changes.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { after, before, test } from 'node:test'

import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'

import { eventually } from '../support.mjs'

const { NEXT_EXAMPLE: folder, CHROMIUM: chromium, SCREENSHOT: screenshot } = process.env
const patience = { timeout: 60_000 }

let next
let url

/** A port that nobody has. */
const freePort = () => new Promise((go) => {
  const probe = createServer().listen(0, '127.0.0.1', () => {
    const { port } = probe.address()
    probe.close(() => go(port))
  })
})

const fetched = async (query = '') => (await fetch(`${url}/${query}`)).text()

before(async () => {
  const port = await freePort()
  url = `http://127.0.0.1:${port}`
  const program = join(folder, 'node_modules/next/dist/bin/next')
  const env = { ...process.env, NEXT_TELEMETRY_DISABLED: '1', NODE_ENV: 'development' }
  next = spawn(process.execPath, [program, 'dev', '--hostname', '127.0.0.1', '--port', String(port)], { cwd: folder, env, detached: true, stdio: 'ignore' })
  await eventually(() => fetched().then(() => true, () => false), 6000)
})

after(() => {
  // With the processes that it has started.
  process.kill(-next.pid, 'SIGKILL')
})

test('an MCP client connects to the application and calls a tool', async () => {
  const client = new Client({ name: 'test', version: '1' })
  await client.connect(new StreamableHTTPClientTransport(new URL(`${url}/mcp`)))
  const { tools } = await client.listTools()
  assert.ok(tools.some((tool) => tool.name === 'sums__add'))
  assert.equal((await client.callTool({ name: 'sums__add', arguments: { a: 2, b: 3 } })).content[0].text, '5')
  await client.close()
})

test('the page lists the servers and shows what the tool says', async () => {
  const html = await fetched('?a=20&b=22')
  assert.match(html, /<td>sums<\/td>/)
  assert.match(html, /<output>42<\/output>/)
})

test('in a browser, a person adds two numbers, and the gateway outlives a change of the sources', { skip: !chromium && 'no browser can be had here' }, async (context) => {
  const { default: puppeteer } = await import('puppeteer-core')
  const browser = await puppeteer.launch({ executablePath: chromium, args: ['--no-sandbox', '--disable-gpu'] })
  context.after(() => browser.close())
  const page = await browser.newPage()
  const wrong = []
  page.on('pageerror', (error) => wrong.push(String(error)))
  await page.goto(url, patience)
  const shown = (selector) => page.$eval(selector, (element) => element.textContent)
  assert.equal(await shown('output'), '3')
  const server = await page.$eval('tbody tr', (row) => row.id)
  for (const [name, digits] of [['a', '20'], ['b', '22']]) {
    await page.click(`input[name=${name}]`, { count: 3 })
    await page.type(`input[name=${name}]`, digits)
  }
  await Promise.all([page.waitForNavigation(patience), page.click('button')])
  assert.equal(await shown('output'), '42')
  if (screenshot) await page.screenshot({ path: screenshot })

  // Hot reload: the module that opens the gateway is loaded anew, the gateway is not.
  for (const file of ['gateway.js', 'app/page.js']) {
    const path = join(folder, file)
    writeFileSync(path, readFileSync(path, 'utf8').replace('<h1>Servers</h1>', '<h1>All servers</h1>').concat('\n// changed\n'))
  }
  await page.waitForFunction(() => document.querySelector('h1').textContent === 'All servers', patience)
  await page.reload(patience)
  assert.equal(await page.$eval('tbody tr', (row) => row.id), server)
  assert.deepEqual(wrong, [])
})
