// Opens the page at /docs in a browser and tries calls on it, with a bearer token. Fails on a message of the console, on a request to
// another host, and on a page that does not show what the OpenAPI document says.
//
//   node page.mjs URL TOKEN CHROMIUM PICTURE

import assert from 'node:assert/strict'
import { chromium } from 'playwright-core'

const [base, token, executablePath, picture] = process.argv.slice(2)
const args = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync']
// With a profile of its own, which is empty.
const browser = await chromium.launch({ executablePath, args, headless: true })
const problems = []
try {
  const page = await browser.newPage({ viewport: { width: 1400, height: 1000 } })
  page.setDefaultTimeout(20_000)
  page.on('console', (message) => ['error', 'warning'].includes(message.type()) && problems.push(`console: ${message.text()}`))
  page.on('pageerror', (error) => problems.push(`script: ${error.message}`))
  const authorized = []
  page.on('request', (request) => {
    const url = new URL(request.url())
    if (!['data:', 'blob:'].includes(url.protocol) && url.origin !== base) problems.push(`request to ${request.url()}`)
    if (url.pathname.startsWith('/api/')) authorized.push(request.headers().authorization)
  })
  // Each violation of the policy, also one of which the console would say nothing.
  await page.addInitScript(() => {
    window.violations = []
    document.addEventListener('securitypolicyviolation', (event) => window.violations.push(`${event.violatedDirective} ${event.blockedURI}`))
  })

  const document = await (await fetch(`${base}/openapi.json`)).json()
  await page.goto(`${base}/docs#tag/operation/GET/health`)
  await page.getByText(`${base}/health`).first().waitFor()
  await page.screenshot({ path: picture })
  const { summary } = document.paths['/health'].get
  await page.getByRole('heading', { name: summary }).first().waitFor()
  for (const tag of document.tags) await page.getByRole('complementary').getByText(tag.name, { exact: true }).first().waitFor()


  const send = async (path, word, credential) => {
    await page.getByRole('button', { name: `(get ${path})` }).first().click()
    const dialog = page.getByRole('dialog').first()
    if (credential) await dialog.getByPlaceholder('Token').fill(credential)
    await dialog.getByRole('button', { name: `Send get request to` }).click()
    await dialog.getByText(word).first().waitFor()
    await page.screenshot({ path: picture.replace('.png', '-call.png') })
    await page.keyboard.press('Escape')
    await dialog.waitFor({ state: 'hidden' })
  }
  await send('/health', '"healthy"')
  await page.goto(`${base}/docs#tag/operation/GET/api/v1/router/metrics`)
  await send('/api/v1/router/metrics', 'server_name', token)
  assert.deepEqual(authorized, [`Bearer ${token}`], 'the token goes along with the call')

  const violations = await page.evaluate(() => window.violations)
  // A library in the page asks once whether it may make code of text, and goes on without.
  problems.push(...violations.filter((violation) => violation !== 'script-src eval'))
} finally {
  await browser.close()
}
assert.deepEqual(problems, [])
