'use strict'

const native = require('./native.js')
const { cancellable } = require('./cancel.js')
const { decode, encode, renamed } = require('./documents.js')
const { settled, sync } = require('./error.js')
const { Lease } = require('./lease.js')
const { remember } = require('./ending.js')
const { serve, taker } = require('./inprocess.js')
const { GatewayTransport } = require('./link.js')

/** How the core calls what says how a call is made. */
const WISHES = {
  service: 'service',
  requiredTools: 'required_tools',
  requiredResources: 'required_resources',
  preferredServers: 'preferred_servers',
  timeoutSeconds: 'timeout_seconds',
  authorization: 'authorization',
  cursor: 'cursor',
  meta: '_meta',
}

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

class Gateway {
  #native

  constructor(opened) {
    this.#native = opened
  }

  static async open(options = {}) {
    return new Gateway(remember(await settled(() => native.Gateway.open(encode(renamed(options, OPENED))))))
  }

  /** Any verb, with its document as the core has it. */
  perform(verb, document, { signal } = {}) {
    const begin = (work) => this.#native.perform(verb, encode(document), work)
    return settled(async () => decode(await cancellable(signal, begin)))
  }

  #call(verb, params, { signal, ...wishes } = {}) {
    return this.perform(verb, { ...params, ...renamed(wishes, WISHES) }, { signal })
  }

  register(registration) { return this.perform('register', registration) }
  update(server, changes, { revision } = {}) { return this.perform('update', { server, changes, revision }) }
  remove(server, { revision } = {}) { return this.perform('remove', { server, revision }) }
  approve(server) { return this.perform('approve', { server }) }
  get(server) { return this.perform('get', { server }) }
  list(filter = {}) { return this.perform('list', renamed(filter, LISTED)) }
  findTools(...names) { return this.perform('find', { tools: names }) }
  findResources(...uris) { return this.perform('find', { resources: uris }) }
  findPrompts(...names) { return this.perform('find', { prompts: names }) }
  search(query, { limit } = {}) { return this.perform('search', { query, limit }) }
  capabilities(server) { return this.perform('capabilities', { server }) }
  discover(server, { signal } = {}) { return this.perform('discover', { server }, { signal }) }
  health(server, { signal } = {}) { return this.perform('health', { server }, { signal }) }
  diagnose(server, { signal } = {}) { return this.perform('diagnose', { server }, { signal }) }
  healthHistory(server, { limit } = {}) { return this.perform('health_history', { server, limit }) }
  stats() { return this.perform('stats', {}) }
  metrics() { return this.perform('metrics', {}) }
  activeRequests() { return this.perform('active_requests', {}) }
  cancelRequest(requestId) { return this.perform('cancel_request', { request_id: requestId }) }
  authenticate(authorization) { return this.perform('authenticate', { authorization }) }
  authorize(operation, { authorization } = {}) { return this.perform('authorize', { operation, authorization }) }

  createKey(wish) { return this.perform('create_key', wish) }
  getKey(key) { return this.perform('get_key', { key }) }
  listKeys({ page, limit } = {}) { return this.perform('list_keys', { page, limit }) }
  rotateKey(key) { return this.perform('rotate_key', { key }) }
  revokeKey(key) { return this.perform('revoke_key', { key }) }

  createTenant(id, { displayName } = {}) { return this.perform('create_tenant', { id, display_name: displayName }) }
  getTenant(tenant) { return this.perform('get_tenant', { tenant }) }
  listTenants() { return this.perform('list_tenants', {}) }
  updateTenant(tenant, changes) { return this.perform('update_tenant', { tenant, changes }) }
  deleteTenant(tenant) { return this.perform('delete_tenant', { tenant }) }

  setCredential(server, credential) { return this.perform('set_credential', { server, credential }) }
  listCredentials(server) { return this.perform('list_credentials', { server }) }
  removeCredential(server, header, { subject } = {}) {
    return this.perform('remove_credential', { server, header, subject })
  }
  beginLogin(server, wish) { return this.perform('begin_login', { server, ...renamed(wish, LOGIN) }) }
  finishLogin({ state, code, iss, redirectUri }) { return this.perform('finish_login', { state, code, iss, redirect_uri: redirectUri }) }

  audit(search = {}) { return this.perform('audit', search) }
  verifyAudit() { return this.perform('verify_audit', {}) }

  callTool(name, args, options) { return this.#call('call_tool', { name, arguments: args }, options) }
  readResource(uri, options) { return this.#call('read_resource', { uri }, options) }
  getPrompt(name, args, options) { return this.#call('get_prompt', { name, arguments: args }, options) }
  complete(ref, argument, { context, ...options } = {}) {
    return this.#call('complete', { ref, argument, context }, options)
  }
  listTools(options) { return this.#call('list_tools', {}, options) }
  listResources(options) { return this.#call('list_resources', {}, options) }
  listResourceTemplates(options) { return this.#call('list_resource_templates', {}, options) }
  listPrompts(options) { return this.#call('list_prompts', {}, options) }
  request(method, params, options) { return this.#call('request', { method, params }, options) }

  pick(service, key) { return new Lease(sync(() => this.#native.pick(service, key))) }

  async *events({ signal } = {}) {
    const watch = sync(() => this.#native.watch())
    for (;;) {
      const change = await settled(() => cancellable(signal, (work) => watch.next(work)))
      if (change === null) return
      yield decode(change)
    }
  }

  transport({ service, authorization, builtin } = {}) {
    return new GatewayTransport(sync(() => this.#native.attach(encode({ service, authorization, builtin }))))
  }

  async registerInprocess(name, upstream, registration = {}) {
    const take = await taker(upstream)
    const housed = await settled(() => this.#native.house(encode({ ...registration, name })))
    return serve(housed, take)
  }

  get isClosed() { return this.#native.isClosed }
  close() { return settled(() => this.#native.close()) }
  [Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose')]() { return this.close() }

  /** For `http.js`. */
  exchange(mount, method, target, headers, peer) {
    return sync(() => this.#native.request(mount, method, target, headers, peer))
  }
}

module.exports = { Gateway }
