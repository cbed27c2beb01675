'use strict'

const { inspect } = require('node:util')

const native = require('./native.js')
const { cancellable } = require('./cancel.js')
const { HANDLERS, converse, isConversation } = require('./conversation.js')
const { checked, decode, encode, members, record, renamed } = require('./documents.js')
const { GatewayError, ToolError, settled, sync } = require('./error.js')
const { Lease } = require('./lease.js')
const { remember } = require('./ending.js')
const { Events } = require('./events.js')
const { serve, taker } = require('./inprocess.js')
const { GatewayTransport } = require('./link.js')

/** The members of a call's document, by the names of their options. */
const ROUTING = {
  service: 'service',
  requiredTools: 'required_tools',
  requiredResources: 'required_resources',
  preferredServers: 'preferred_servers',
  authorization: 'authorization',
  cursor: 'cursor',
  meta: '_meta',
}

const CALL = ['timeout', 'signal', ...Object.keys(ROUTING)]

const LISTED = {
  page: 'page',
  limit: 'limit',
  status: 'status',
  healthStatus: 'health_status',
  tags: 'tags',
  search: 'search',
  includeTools: 'include_tools',
  includeResources: 'include_resources',
}

const LOGIN = {
  redirectUri: 'redirect_uri',
  subject: 'subject',
  clientId: 'client_id',
  clientSecret: 'client_secret',
  clientMetadataUrl: 'client_metadata_url',
  scopes: 'scopes',
}

const OPENED = { config: 'config', url: 'url', dataDir: 'data_dir', servers: 'servers', acceptDataLoss: 'accept_data_loss' }

const AUDIT = ['from', 'to', 'actor', 'action', 'target', 'outcome', 'before', 'limit']

/** Milliseconds as the core's seconds. */
function seconds(timeout) {
  if (timeout === undefined) return undefined
  if (typeof timeout !== 'number' || !(timeout > 0)) throw new TypeError(`\`timeout\` is a number of milliseconds, not ${String(timeout)}`)
  return Math.max(timeout / 1000, 0.001)
}

/** The arguments of a tool: an object, whose `Date`s and `undefined`s JSON writes as it does. */
function argumentsOf(args) {
  if (args === undefined || (args !== null && typeof args === 'object' && !Array.isArray(args) && !(args instanceof AbortSignal))) return args
  throw new TypeError(`the arguments of a tool are an object, not ${Array.isArray(args) ? 'an array' : args instanceof AbortSignal ? 'a signal; pass it as `{ signal }` after the arguments' : String(args)}`)
}

const registrations = (servers) => (Array.isArray(servers) ? servers.map(members) : servers)

class Gateway {
  #native

  constructor(opened) {
    this.#native = opened
  }

  static async open(options = {}) {
    const document = renamed('`Gateway.open`', options, OPENED)
    if (document.servers !== undefined) document.servers = registrations(document.servers)
    return new Gateway(remember(await settled(() => native.Gateway.open(encode(document)))))
  }

  /** Any operation of the core, with its document and its answer as the core has them. */
  async perform(verb, document, { signal } = {}) {
    const begin = (work) => settled(() => this.#native.perform(verb, encode(document), work))
    return decode(await cancellable(signal, begin))
  }

  async #record(verb, document, options) {
    return record(await this.perform(verb, document, options))
  }

  async #call(verb, params, options = {}, more = []) {
    checked(`\`${verb}\``, options, [...CALL, ...more])
    const { signal, timeout } = options
    const routing = Object.fromEntries(Object.entries(ROUTING).map(([own, core]) => [core, options[own]]))
    return this.perform(verb, { ...params, ...routing, timeout_seconds: seconds(timeout) }, { signal })
  }

  async register(registration) { return this.#record('register', members(registration)) }
  async update(server, changes, options = {}) {
    const { revision } = checked('`update`', options, ['revision'])
    return this.#record('update', { server, changes: members(changes), revision })
  }
  async remove(server, options = {}) {
    const { revision } = checked('`remove`', options, ['revision'])
    return this.perform('remove', { server, revision })
  }
  async approve(server) { return this.#record('approve', { server }) }
  async get(server) { return this.#record('get', { server }) }
  async list(filter = {}) { return this.#record('list', renamed('`list`', filter, LISTED)) }
  async findTools(...names) { return this.#record('find', { tools: names }) }
  async findResources(...uris) { return this.#record('find', { resources: uris }) }
  async findPrompts(...names) { return this.#record('find', { prompts: names }) }
  async search(query, options = {}) {
    const { limit } = checked('`search`', options, ['limit'])
    return this.#record('search', { query, limit })
  }
  async capabilities(server) { return this.perform('capabilities', { server }) }
  async discover(server, options = {}) { return this.perform('discover', { server }, checked('`discover`', options, ['signal'])) }
  async health(server, options = {}) { return this.#record('health', { server }, checked('`health`', options, ['signal'])) }
  async diagnose(server, options = {}) { return this.#record('diagnose', { server }, checked('`diagnose`', options, ['signal'])) }
  async healthHistory(server, options = {}) {
    const { limit } = checked('`healthHistory`', options, ['limit'])
    return this.#record('health_history', { server, limit })
  }
  async stats() { return this.#record('stats', {}) }
  async metrics() {
    const { metrics } = await this.perform('metrics', {})
    return { metrics: Object.fromEntries(Object.entries(metrics).map(([id, counted]) => [id, record(counted)])) }
  }
  async activeRequests() { return this.#record('active_requests', {}) }
  async cancelRequest(requestId) { return this.perform('cancel_request', { request_id: requestId }) }
  async authenticate(authorization) { return this.#record('authenticate', { authorization }) }
  async authorize(operation, options = {}) {
    const { authorization } = checked('`authorize`', options, ['authorization'])
    return this.#record('authorize', { operation, authorization })
  }

  async createKey(wish) { return this.#record('create_key', members(wish)) }
  async getKey(key) { return this.#record('get_key', { key }) }
  async listKeys(options = {}) { return this.#record('list_keys', checked('`listKeys`', options, ['page', 'limit'])) }
  async rotateKey(key) { return this.#record('rotate_key', { key }) }
  async revokeKey(key) { return this.perform('revoke_key', { key }) }

  async createTenant(id, options = {}) {
    const { displayName } = checked('`createTenant`', options, ['displayName'])
    return this.#record('create_tenant', { id, display_name: displayName })
  }
  async getTenant(tenant) { return this.#record('get_tenant', { tenant }) }
  async listTenants() { return this.#record('list_tenants', {}) }
  async updateTenant(tenant, changes) { return this.#record('update_tenant', { tenant, changes: members(changes) }) }
  async deleteTenant(tenant) { return this.perform('delete_tenant', { tenant }) }

  async setCredential(server, credential) { return this.#record('set_credential', { server, credential }) }
  async listCredentials(server) { return this.#record('list_credentials', { server }) }
  async removeCredential(server, header, options = {}) {
    const { subject } = checked('`removeCredential`', options, ['subject'])
    return this.perform('remove_credential', { server, header, subject })
  }
  async beginLogin(server, login) { return this.#record('begin_login', { server, ...renamed('`beginLogin`', login, LOGIN) }) }
  async finishLogin({ state, code, iss, redirectUri }) {
    return this.#record('finish_login', { state, code, iss, redirect_uri: redirectUri })
  }

  async audit(search = {}) { return this.#record('audit', checked('`audit`', search, AUDIT)) }
  async verifyAudit() { return this.#record('verify_audit', {}) }

  async callTool(name, args, options = {}) {
    checked('`callTool`', options, [...CALL, ...HANDLERS, 'raiseOnError'])
    const { raiseOnError = true, onprogress, onlog, onelicitation, onsampling, ...others } = options
    const params = { name, arguments: argumentsOf(args) }
    const result = isConversation(options)
      ? await this.#converse(params, options)
      : await this.#call('call_tool', params, others)
    if (raiseOnError && result.isError) throw new ToolError(name, result)
    return result
  }

  async #converse(params, { service, authorization, meta, ...options }) {
    for (const name of ['requiredTools', 'requiredResources', 'preferredServers', 'cursor']) {
      if (options[name] !== undefined) throw new TypeError(`\`${name}\` cannot be used together with ${HANDLERS.join(', ')}`)
    }
    seconds(options.timeout)
    const named = JSON.parse(encode(meta === undefined ? params : { ...params, _meta: meta }))
    return converse(this.transport({ service, authorization }), 'tools/call', named, options)
  }

  async readResource(uri, options) { return this.#call('read_resource', { uri: String(uri) }, options) }
  async getPrompt(name, args, options) {
    const texts = args && Object.fromEntries(Object.entries(args).map(([key, one]) => [key, typeof one === 'string' ? one : JSON.stringify(one)]))
    return this.#call('get_prompt', { name, arguments: texts }, options)
  }
  async complete(ref, argument, { context, ...options } = {}) {
    return this.#call('complete', { ref, argument, context }, options)
  }
  async listTools(options) { return this.#call('list_tools', {}, options) }
  async listResources(options) { return this.#call('list_resources', {}, options) }
  async listResourceTemplates(options) { return this.#call('list_resource_templates', {}, options) }
  async listPrompts(options) { return this.#call('list_prompts', {}, options) }
  async request(method, params, options) { return this.#call('request', { method, params }, options) }

  pick(service, key) { return new Lease(sync(() => this.#native.pick(service, key))) }

  events(options = {}) {
    const { signal } = checked('`events`', options, ['signal'])
    return new Events(sync(() => this.#native.watch()), signal)
  }

  transport(options = {}) {
    const { service, authorization, builtin } = checked('`transport`', options, ['service', 'authorization', 'builtin'])
    return new GatewayTransport(sync(() => this.#native.attach(encode({ service, authorization, builtin }))))
  }

  async registerInprocess(name, upstream, { onerror, ...registration } = {}) {
    const take = await taker(upstream)
    const housed = await settled(() => this.#native.house(encode({ ...members(registration), name })))
    return serve(housed, take, { onerror })
  }

  get isClosed() { return this.#native.isClosed }
  async close(options = {}) {
    const { timeout } = checked('`close`', options, ['timeout'])
    if (timeout !== undefined && !(timeout >= 0)) throw new TypeError('`timeout` is a number of milliseconds')
    return settled(() => this.#native.close(timeout === undefined ? undefined : timeout / 1000))
  }
  [Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose')]() { return this.close() }
  [inspect.custom]() { return `Gateway { ${this.isClosed ? 'closed' : 'open'} }` }

  /** For `http.js`. */
  exchange(mount, method, target, headers, peer) {
    if (this.isClosed) throw new GatewayError({ kind: 'unavailable', message: 'this gateway is closed', context: { reason: 'closed' } })
    return sync(() => this.#native.request(mount, method, target, headers, peer))
  }
}

module.exports = { Gateway }
