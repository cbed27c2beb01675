// The example for Next.js as it is deployed: built once, then served by `next start`. There the page and the route have instances of
// their own of each module, and one gateway.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'

import { add, attacked, build, chromium, connected, opened, started } from './application.mjs'

let application

before(async () => {
  assert.equal(build(), undefined)
  application = await started('start', 'production')
})
after(() => application?.end())

test('what is built serves MCP clients, and the page and the route have one gateway', async () => {
  const client = await connected(application.url)
  assert.equal((await client.callTool({ name: 'sums__add', arguments: { a: 2, b: 3 } })).content[0].text, '5')
  await client.close()
  // The key was made by the gateway of the page, in its memory: another gateway would not know it.
  assert.match(await application.fetched(), /<td>sums<\/td>/)
})

test('X-20: a stranger is nobody to what is built, and nobody is offered a command', async () => {
  const { strangers, known } = await attacked(application.url)
  assert.deepEqual(new Set(strangers), new Set([401]))
  assert.match(known[1], /Unknown name: gateway__register_server/)
  assert.doesNotMatch(await application.fetched(), /evil/)
})

test('in a browser, a person adds two numbers on the page that was built', { skip: !chromium && 'no browser can be had here' }, async (context) => {
  const { page, wrong, shown } = await opened(application.url, context)
  assert.equal(await shown('output'), '3')
  await add(page, '20', '22')
  assert.equal(await shown('output'), '42')
  assert.deepEqual(wrong, [])
})
