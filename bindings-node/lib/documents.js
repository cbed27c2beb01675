'use strict'
// Documents of the core, and how JavaScript names their members.

const encode = (value) => Buffer.from(JSON.stringify(value, plain))
const decode = (bytes) => JSON.parse(bytes.toString())

/** Numbers that JSON cannot have would become `null` in silence. */
function plain(key, value) {
  if (typeof value === 'bigint') return Number.isSafeInteger(Number(value)) ? Number(value) : String(value)
  if (typeof value === 'number' && !Number.isFinite(value)) throw new TypeError(`\`${key}\`: ${value} is not JSON`)
  return value
}

const snake = (name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
const camel = (name) => name.replace(/(?<=[a-z0-9])_([a-z])/g, (_, letter) => letter.toUpperCase())

/** Members whose value is the program's or the server's own, so that its names stay as they are. */
const FREE = new Set([
  'env', 'headers', 'configuration', 'health_check', 'capabilities', 'detail', 'tools', 'resources', 'prompts', 'resourceTemplates',
  'metrics', 'servers_by_status', 'servers_by_transport', 'servers_by_health', 'servers_by_state',
])

/** A record of the gateway as JavaScript names its members: `createdAt` for `created_at`. */
function record(value) {
  if (Array.isArray(value)) return value.map(record)
  if (value === null || typeof value !== 'object') return value
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [camel(key), FREE.has(key) ? one : record(one)]))
}

/** Members that the program gave, under the names that the core has for them; both spellings are read. */
function members(value) {
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [snake(key), one]))
}

/**
 * Members of `options` under the names that the core has for them.
 *
 * Throws a `TypeError` that names a member that is not known, or options that are no object.
 */
function renamed(what, options, names) {
  checked(what, options, Object.keys(names))
  return Object.fromEntries(Object.entries(names).map(([own, core]) => [core, options[own]]))
}

/** `options`, if it is an object with nothing but `known` members. */
function checked(what, options, known) {
  if (options === null || typeof options !== 'object' || Array.isArray(options)) {
    throw new TypeError(`${what} takes an object of options, not ${shown(options)}`)
  }
  if (options instanceof AbortSignal) throw new TypeError(`${what} takes the signal as \`{ signal }\``)
  for (const name of Object.keys(options)) {
    if (!known.includes(name)) {
      const near = known.find((one) => distance(one.toLowerCase(), name.toLowerCase()) <= 2)
      throw new TypeError(`${what} has no option \`${name}\`${near ? `; did you mean \`${near}\`?` : `; it has ${known.join(', ')}`}`)
    }
  }
  return options
}

const shown = (value) => (typeof value === 'string' ? `'${value}'` : Array.isArray(value) ? 'an array' : String(value))

/** Levenshtein's distance, with a swap of neighbours as one change. */
function distance(a, b) {
  const rows = Array.from({ length: a.length + 1 }, (_, i) => Array.from({ length: b.length + 1 }, (_, j) => (i === 0 ? j : j === 0 ? i : 0)))
  for (let i = 1; i <= a.length; i += 1) {
    for (let j = 1; j <= b.length; j += 1) {
      const change = a[i - 1] === b[j - 1] ? 0 : 1
      rows[i][j] = Math.min(rows[i - 1][j] + 1, rows[i][j - 1] + 1, rows[i - 1][j - 1] + change)
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) rows[i][j] = Math.min(rows[i][j], rows[i - 2][j - 2] + 1)
    }
  }
  return rows[a.length][b.length]
}

module.exports = { checked, decode, encode, members, record, renamed }
