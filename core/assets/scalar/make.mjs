// Packs the API reference that `/docs` shows, as the npm package in package-lock.json has it, and the licences of what is in it.
//
//   node make.mjs          writes scalar.js.gz and LICENSES.txt
//   node make.mjs --check  says whether they are what the package has
//
// To take another version: npm install --package-lock-only @scalar/api-reference@VERSION, then this, then tests/openapi/run, which
// opens the page in a browser.

import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gunzipSync, gzipSync } from 'node:zlib'

const HERE = dirname(fileURLToPath(import.meta.url))
const SCRIPT = join(HERE, 'scalar.js.gz')
const LICENSES = join(HERE, 'LICENSES.txt')
const SCALAR = '@scalar/api-reference'

// The MIT licence of https://github.com/scalar/scalar, which its packages name and do not carry.
const SCALAR_LICENSE = readFileSync(join(HERE, 'LICENSE'), 'utf8')

/** The packages whose code is in the bundle, from its source map. */
function bundled(map) {
  const names = new Set()
  for (const source of map.sources) {
    const path = source.split('node_modules/').pop()
    if (path === source) continue
    const [first, second] = path.split('/')
    names.add(first.startsWith('@') ? `${first}/${second}` : first)
  }
  return [...names].sort()
}

/** The folder of a package, which may be installed below another one. */
function folderOf(modules, name) {
  const direct = join(modules, name)
  if (existsSync(join(direct, 'package.json'))) return direct
  const found = readdirSync(modules, { recursive: true }).find((path) => path.endsWith(join('node_modules', name, 'package.json')))
  if (!found) throw new Error(`${name} is in the bundle and not installed`)
  return dirname(join(modules, found))
}

function licenses(modules, names) {
  const texts = new Map([[SCALAR_LICENSE, ['Scalar: @scalar/api-reference and the packages of its repository']]])
  for (const name of names) {
    const folder = folderOf(modules, name)
    const { version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
    const file = readdirSync(folder).find((entry) => /^(licen[cs]e|copying)/i.test(entry))
    const text = file ? readFileSync(join(folder, file), 'utf8').replace(/\r/g, '').trim() + '\n' : `${license}; the package carries no text of it\n`
    texts.set(text, [...(texts.get(text) ?? []), `${name} ${version} (${license})`])
  }
  const parts = [...texts].map(([text, packages]) => `${packages.join('\n')}\n\n${text}`)
  return `The page at /docs is made of these packages.\n\n${parts.join(`\n${'-'.repeat(80)}\n\n`)}`
}

const folder = mkdtempSync(join(tmpdir(), 'scalar-'))
try {
  for (const file of ['package.json', 'package-lock.json']) cpSync(join(HERE, file), join(folder, file))
  execFileSync('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'], { cwd: folder, stdio: ['ignore', 'ignore', 'inherit'] })
  const modules = join(folder, 'node_modules')
  const browser = join(modules, SCALAR, 'dist', 'browser')
  const script = readFileSync(join(browser, 'standalone.js'))
  const map = JSON.parse(readFileSync(join(browser, 'standalone.js.map'), 'utf8'))
  const notices = licenses(modules, bundled(map))
  if (process.argv.includes('--check')) {
    // Compressed bytes differ from one zlib to the next.
    const same = gunzipSync(readFileSync(SCRIPT)).equals(script) && readFileSync(LICENSES, 'utf8') === notices
    console.log(same ? 'scalar.js.gz and LICENSES.txt are what the package has' : 'scalar.js.gz or LICENSES.txt differs from the package')
    process.exitCode = same ? 0 : 1
  } else {
    writeFileSync(SCRIPT, gzipSync(script, { level: 9 }))
    writeFileSync(LICENSES, notices)
  }
} finally {
  rmSync(folder, { recursive: true, force: true })
}
