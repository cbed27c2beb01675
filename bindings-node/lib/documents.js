'use strict'

const encode = (value) => Buffer.from(JSON.stringify(value))
const decode = (bytes) => JSON.parse(bytes.toString())

/** Members of `options` that were given, under the names that the core has for them. */
const renamed = (options, names) =>
  Object.fromEntries(Object.entries(names).map(([own, core]) => [core, options[own]]))

module.exports = { decode, encode, renamed }
