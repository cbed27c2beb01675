// The example for Next.js as a person sees it: a browser opens the page, adds two numbers, and stays on it while a file changes.

import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'

import { add, attacked, chromium, connected, folder, opened, patience, screenshot, started } from './application.mjs'

let application

before(async () => { application = await started('dev', 'development') })
after(() => application?.end())

test('an MCP client connects to the application and calls a tool', async () => {
  const client = await connected(application.url)
  const { tools } = await client.listTools()
  assert.ok(tools.some((tool) => tool.name === 'sums__add'))
  assert.equal((await client.callTool({ name: 'sums__add', arguments: { a: 2, b: 3 } })).content[0].text, '5')
  await client.close()
})

test('X-20: a stranger is nobody while one develops, too', async () => {
  const { strangers } = await attacked(application.url)
  assert.deepEqual(new Set(strangers), new Set([401]))
})

test('the page lists the servers and shows what the tool says', async () => {
  const html = await application.fetched('?a=20&b=22')
  assert.match(html, /<td>sums<\/td><td>(healthy|unknown)<\/td>/)
  assert.match(html, /<output>42<\/output>/)
})

test('in a browser, a person adds two numbers, and the gateway outlives a change of the sources', { skip: !chromium && 'no browser can be had here' }, async (context) => {
  const { page, wrong, shown } = await opened(application.url, context)
  assert.equal(await shown('output'), '3')
  const server = await page.$eval('tbody tr', (row) => row.id)
  await add(page, '20', '22')
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
