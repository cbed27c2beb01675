/**
 * The MCP Registry Gateway inside your process: register MCP servers, discover what they offer, route calls to them.
 *
 * Records of the gateway have JavaScript's names (`createdAt` for the REST API's `created_at`); both spellings are read. The values of
 * `configuration`, `healthCheck`, `env` and `capabilities`, and the results of MCP calls, keep the names that they have.
 */

import type { IncomingMessage, ServerResponse } from 'node:http'

/** What went wrong, in the terms that a caller can act on. */
export type ErrorKind =
  | 'parse' | 'invalid_request' | 'method_not_found' | 'invalid_params' | 'header_mismatch' | 'missing_capability'
  | 'unsupported_version' | 'media_type' | 'method_not_allowed' | 'unauthenticated' | 'permission_denied' | 'not_found'
  | 'resource_not_found' | 'session_not_found' | 'conflict' | 'too_large' | 'rate_limited' | 'cancelled' | 'internal'
  | 'bad_upstream' | 'unavailable' | 'storage' | 'timeout'

/** A failure that the gateway reports. Act on `kind` or `code`. */
export declare class GatewayError extends Error {
  constructor(fault?: { kind?: ErrorKind | 'tool'; message?: string; retryable?: boolean; context?: Record<string, unknown>; cause?: unknown })
  readonly name: string
  readonly kind: ErrorKind | 'tool'
  /** Node's code where there is one (`ETIMEDOUT`, `ABORT_ERR`), else `ERR_GATEWAY_` and the kind. */
  readonly code: string
  /** Whether the same call can succeed later without being changed. */
  readonly retryable: boolean
  /** Where: the field, the server, the limit; `outcome` says `unknown` where a server may have seen the call. */
  readonly context: Readonly<Record<string, string | number>>
  toJSON(): { kind: ErrorKind | 'tool'; message: string; retryable: boolean; context: Record<string, string | number> }
}

/** A tool reported an error: its result has `isError`. `raiseOnError: false` returns the result instead. */
export declare class ToolError extends GatewayError {
  constructor(tool: string, result: ToolResult)
  readonly tool: string
  readonly result: ToolResult
}

export type Transport = 'http' | 'sse' | 'stdio' | 'websocket'
export type Status = 'active' | 'inactive' | 'maintenance' | 'error'
export type Health = 'healthy' | 'degraded' | 'unhealthy' | 'unreachable' | 'unknown'
export type Role = 'admin' | 'manager' | 'developer' | 'analyst' | 'viewer' | 'guest'
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json }
export type JsonObject = { [key: string]: Json }

/** What is registered: the body of `POST /api/v1/servers`. */
export interface Registration {
  /** Unique within the tenant. */
  name: string
  /** For `http`, `sse` and `websocket`. */
  endpointUrl?: string
  /** For `stdio`: the program, its arguments, its environment and its working directory. */
  command?: string
  args?: string[]
  env?: Record<string, string>
  cwd?: string
  /** `http` with a URL and `stdio` with a command, unless said. */
  transportType?: Transport
  /** The service whose replica it is; its own name, unless said. */
  service?: string
  version?: string
  displayName?: string
  description?: string
  /** What it offers, until it answers for itself. */
  capabilities?: { tools?: Json[]; resources?: Json[]; resourceTemplates?: Json[]; prompts?: Json[] }
  tags?: string[]
  /** 1 unless said; 0 is drained. */
  weight?: number
  /** Whether it is asked what it offers; true unless said. */
  autoDiscover?: boolean
  healthCheck?: JsonObject
  configuration?: JsonObject
  status?: Status
}

/** A registered server. Values of `env` and of `configuration.headers` are `***`. */
export interface Server {
  id: string
  tenantId: string
  name: string
  service: string
  endpointUrl: string | null
  command?: string
  args?: string[]
  env?: Record<string, string>
  cwd?: string
  transportType: Transport | 'memory'
  version: string | null
  displayName: string | null
  description: string | null
  /** The names of what it offers. */
  capabilities: { tools: string[]; resources: string[]; resourceTemplates: string[]; prompts: string[] }
  tags: string[]
  weight: number
  autoDiscover: boolean
  healthCheck: JsonObject
  configuration: JsonObject
  status: Status
  healthStatus: Health
  lastHealthCheck: string | null
  createdAt: string
  updatedAt: string
  /** Counts changes. */
  revision: number
  /** Whether it serves, in one word. */
  state: ServerState
  /** Everything that is wrong with it; texts in general terms for callers below a manager. */
  problems: Problem[]
  /** How long the last start took. */
  lastStartMs: number | null
  /** How much its definitions take; tokens are estimated. */
  size: { bytes: number; tokens: number }
  /** The last error in one sentence, with the next step. */
  lastError: string | null
  /** While it starts, such as `starting, 12 s, npx is installing`. */
  progress?: string
  /** The last lines of standard error of a program that failed to start; for managers and above. */
  lastOutput?: string[]
  warnings?: string[]
  drift?: { waits: boolean; differences: { kind: string; name: string; replica?: string }[] }
  tools?: JsonObject[]
  resources?: JsonObject[]
}

/** Whether a server serves. */
export type ServerState = 'starting' | 'ready' | 'partial' | 'unreachable' | 'unauthorized' | 'paused'

/** Something that is wrong with a server, or with a part of it. */
export interface Problem {
  what: 'server' | 'unauthorized' | 'list' | 'item' | 'repaired'
  /** The part; `null` for the whole server. */
  item: string | null
  reason: string
  since: string
  nextAttempt: string | null
}

/** The examination of a server, step by step. */
export interface Diagnosis {
  serverId: string
  name: string
  /** Whether nothing is wrong. */
  ok: boolean
  state: ServerState
  steps: {
    step: string
    outcome: 'ok' | 'warning' | 'failed' | 'skipped'
    tookMs: number | null
    found: string
    /** What a person should do. */
    advice: string | null
  }[]
  problems: Problem[]
  lastOutput: string[]
}

/** One page of servers, ordered by name. */
export interface ServerPage { servers: Server[]; total: number; page: number; limit: number }

/** Which servers are listed. */
export interface ListFilter {
  page?: number
  /** 1 to 200; 50 unless said. */
  limit?: number
  status?: Status
  healthStatus?: Health
  tags?: string[]
  search?: string
  includeTools?: boolean
  includeResources?: boolean
}

/** A server that offers what was looked for. */
export interface FoundServer {
  id: string
  name: string
  service: string
  endpointUrl: string | null
  healthStatus: Health
}

/** What of a server was looked for. */
export interface Match { name: string; description: string | null }

/** One result of a search. */
export interface SearchHit {
  service: string
  serverId: string
  kind: 'server' | 'tool' | 'resource' | 'resource_template' | 'prompt'
  name: string
  description: string | null
  /** Higher is better; comparable within one answer only. */
  score: number
}

/** What a search found, best first. */
export interface SearchAnswer { query: string; results: SearchHit[] }

/** The servers that offer all that was asked for. */
export interface FoundTools { tools: string[]; servers: (FoundServer & { tools: Match[] })[] }
export interface FoundResources { resources: string[]; servers: (FoundServer & { resources: Match[] })[] }
export interface FoundPrompts { prompts: string[]; servers: (FoundServer & { prompts: Match[] })[] }

/** What a server offers: the definitions as it gave them. */
export interface Capabilities {
  tools: JsonObject[]
  resources: JsonObject[]
  resourceTemplates: JsonObject[]
  prompts: JsonObject[]
}

/** What a probe found. */
export interface HealthCheck {
  serverId: string
  healthStatus: Health
  responseTimeMs: number
  checkedAt: string
  /** Why it failed; `null` if it did not. */
  error: string | null
}

/** Observations of a server's health, newest first. */
export interface HealthHistory {
  serverId: string
  history: Omit<HealthCheck, 'serverId'>[]
}

/** Counts over the register. */
export interface Stats {
  totalServers: number
  serversByStatus: Partial<Record<Status, number>>
  serversByTransport: Record<string, number>
  serversByHealth: Partial<Record<Health, number>>
  serversByState: Partial<Record<ServerState, number>>
  sessions: number
  activeRequests: number
  /** The same and more of all tenants together; `null` for who administers one alone. */
  gateway: {
    sessions: number
    activeRequests: number
    /** Reads that were answered by the fetch of an equal one. */
    sharedReads: number
    limits: Record<'calls' | 'maxCalls' | 'waiting' | 'rateRefusals' | 'crowdRefusals' | 'bans' | 'windows', number>
    audit: Record<'written' | 'waiting' | 'lost' | 'failures', number>
  } | null
}

/** What routing knows of one server since this process started. */
export interface ServerMetrics {
  serverName: string
  activeConnections: number
  totalRequests: number
  successRate: number
  errorRate: number
  avgResponseTimeMs: number
  circuitBreakerState: 'closed' | 'open' | 'half_open'
  failureCount: number
}

/** What routing knows, by server id. */
export interface RouterMetrics { metrics: Record<string, ServerMetrics> }

/** One call under way. */
export interface ActiveRequest {
  /** Its correlation id. */
  requestId: string
  method: string
  durationSeconds: number
  tenantId: string
  userId: string
}

/** The calls under way. */
export interface ActiveRequests { activeRequestCount: number; requests: ActiveRequest[] }

/** What a key is to be: the body of `POST /api/v1/api-keys`. */
export interface KeyWish {
  name: string
  /** `viewer` unless said. */
  role?: Role
  /** What it is narrowed to; all that its role may, unless said. */
  scopes?: string[]
  /** 90 unless said. */
  expiresInDays?: number
  /** The only server that it may be used for. */
  serverId?: string
  requestsPerMinute?: number
}

/** An API key, without the key. */
export interface ApiKey {
  id: string
  tenantId: string
  name: string
  role: Role
  scopes: string[] | null
  serverId: string | null
  requestsPerMinute: number | null
  /** Whether it holds now. */
  active: boolean
  prefix: string
  /** Its last four characters. */
  hint: string
  createdBy: string
  createdAt: string
  expiresAt: string
  lastUsedAt: string | null
  uses: number
  /** The key that replaced it. */
  rotatedTo: string | null
  revokedAt: string | null
}

/** An API key that was just made: `key` is shown here and nowhere else. */
export interface NewApiKey extends ApiKey { key: string }

/** One page of keys, newest first. */
export interface ApiKeyPage { keys: ApiKey[]; total: number; page: number; limit: number }

/** A tenant. */
export interface Tenant {
  id: string
  displayName: string | null
  status: 'active' | 'disabled' | 'deleted'
  createdAt: string
  updatedAt: string
}

/** The tenants, ordered by id. */
export interface TenantList { tenants: Tenant[]; total: number }

/** What a server is to be shown in a header of every request, or of those for one caller. */
export interface NewCredential { header: string; value: string; subject?: string }

/** What is told of a credential: everything but its value. */
export interface Credential {
  /** `header` if somebody set it, `oauth` if somebody logged in. */
  kind: 'header' | 'oauth'
  header: string
  /** In whose calls alone it is shown; in all if absent. */
  subject?: string
  /** The origin that it is sent to, and no other. */
  origin: string
  keyId: string
  createdBy: string
  createdAt: string
  authorized?: { issuer?: string; scopes: string[]; expiresAt?: string; renewable: boolean }
}

/** A server's credentials, by subject and header. */
export interface CredentialList { credentials: Credential[] }

/** How to log in; the gateway finds out by itself what is left out. */
export interface LoginWish {
  /** A page of the host's, where the browser is sent back to with what `finishLogin` takes. */
  redirectUri: string
  subject?: string
  clientId?: string
  clientSecret?: string
  clientMetadataUrl?: string
  scopes?: string[]
}

/** A login that has begun: where a person goes, and until when they have to be back. */
export interface Login {
  authorizationUrl: string
  /** Below the page that was named: where this authorization server, and no other, sends the browser back to. */
  redirectUri: string
  expiresAt: string
}

/** Which rows of the audit trail are asked for; what is left out asks for all. */
export interface AuditSearch {
  /** Not older than this (RFC 3339). */
  from?: string
  /** Older than this (RFC 3339). */
  to?: string
  actor?: string
  action?: string
  target?: string
  outcome?: string
  /** `next` of the page before. */
  before?: number
  limit?: number
}

/** One row of the audit trail. */
export interface AuditRow {
  number: number
  at: string
  tenantId: string
  actor: string
  action: string
  target: string
  outcome: string
  correlationId: string | null
  detail: Json
  hash: string
}

/** One page of the audit trail, newest first. */
export interface AuditPage { rows: AuditRow[]; next: number | null }

/** What following the chain of the audit trail found. */
export interface AuditChain {
  first: number
  last: number
  hash: string
  keyId: string
  hold: boolean
  intact: boolean
  row: number | null
  problem: string | null
}

/** Whom a credential stands for. */
export interface Identity {
  tenant: string
  subject: string
  role: Role
  /** `null`: all that the role may. */
  scopes: string[] | null
  expiresAt: string | null
}

/** A change of a server, as `/api/v1/events` has it. */
export interface ServerEvent {
  /** `lagged`: events were missed, read the list of servers anew. */
  type: 'server.registered' | 'server.updated' | 'server.removed' | 'server.discovered' | 'server.state' | 'server.health' | 'lagged'
  timestamp: string
  /** Absent for `lagged`. */
  serverId?: string
  /** The server as it is now; absent if it is gone. */
  name?: string
  service?: string
  status?: Status
  healthStatus?: Health
  state?: ServerState
  revision?: number
  /** For `server.health`: the health before. */
  from?: Health
  /** For `server.health`: the health that was observed. */
  to?: Health
}

/** How a call is made. */
export interface CallOptions {
  /** The service whose server is to answer; names are then its own. Without, names are `service__name`. */
  service?: string
  /** The server must offer these. */
  requiredTools?: string[]
  requiredResources?: string[]
  /** Names or ids of servers to take before others, best first. */
  preferredServers?: string[]
  /** Milliseconds that the call may take; by default as the server is configured. */
  timeout?: number
  /** Calls with this credential, as the header of that name has it, instead of as the program itself. */
  authorization?: string
  /** `_meta` of the request. */
  meta?: JsonObject
  /** Cancels the call, also at the server. */
  signal?: AbortSignal
}

/** How a tool is called. The handlers hear and answer the server during the call. */
export interface ToolCallOptions extends CallOptions {
  /** Whether a result with `isError` is thrown as a `ToolError`; true unless said. */
  raiseOnError?: boolean
  onprogress?: (progress: { progress: number; total?: number; message?: string }) => void | Promise<void>
  onlog?: (entry: { level: string; data: Json; logger?: string }) => void | Promise<void>
  /** Returns the content, `null` to decline, or an object with `action`. */
  onelicitation?: (request: JsonObject) => JsonObject | null | undefined | Promise<JsonObject | null | undefined>
  /** Returns the text, or the whole result. */
  onsampling?: (request: JsonObject) => string | JsonObject | Promise<string | JsonObject>
}

/** How a list is asked for. */
export interface PageOptions extends CallOptions {
  /** `nextCursor` of the page before. */
  cursor?: string
}

/** The result of a tool, as its server sent it. */
export interface ToolResult {
  content: ({ type: string } & JsonObject)[]
  structuredContent?: Json
  isError?: boolean
  [member: string]: Json | undefined
}

/** What a gateway is opened with; with nothing it is all in memory. */
export interface OpenOptions {
  /** The path of a configuration file, or the configuration itself under the same keys. */
  config?: string | JsonObject
  /** Where what is registered is kept: `sqlite:PATH` or `memory:`. */
  url?: string
  /** Where relative paths lead. */
  dataDir?: string
  /**
   * Registrations, or what clients keep as `mcpServers`; an entry that cannot be used is logged and costs itself alone. Placeholders such
   * as `${VAR}` stay as they are: they are replaced only in a file that the configuration names by `import`.
   */
  servers?: Registration[] | { mcpServers: Record<string, JsonObject> }
  /** Go on with a database that lacks what was acknowledged, for one start; else it is refused, and the error says what is missing. */
  acceptDataLoss?: boolean
}

/** A server that was picked, busy until it is released: by one of these methods, at the end of `using`, or by the garbage collector. */
export declare class Lease implements Disposable {
  private constructor()
  readonly serverId: string
  readonly name: string
  /** Where it is; `null` for a command. */
  readonly endpointUrl: string | null
  /** Releases the server, which answered. */
  succeeded(): void
  /** Releases the server, which failed: its breaker learns from it. */
  failed(): void
  /** Releases the server, of which nothing is said. */
  release(): void
  /** What `work` gives; the server has failed if it throws, and answered if it does not. */
  use<T>(work: (lease: Lease) => T | Promise<T>): Promise<T>
  [Symbol.dispose](): void
}

/** The changes of servers since it was made; it ends with the gateway, or by `return()`. */
export interface ServerEvents extends AsyncIterableIterator<ServerEvent, void, void>, AsyncDisposable {
  return(): Promise<IteratorResult<ServerEvent, void>>
}

/** A transport of the official SDKs' clients, straight into the gateway. */
export declare class GatewayTransport {
  private constructor()
  onmessage?: (message: any) => void
  onclose?: () => void
  onerror?: (error: Error) => void
  start(): Promise<void>
  send(message: unknown): Promise<void>
  close(): Promise<void>
}

/**
 * Answers a JSON-RPC message with one; `undefined` answers nothing. An exception is answered as an internal error.
 * `send` sends more of the server's own.
 */
export type MessageHandler = (
  message: any,
  context: { send(message: unknown): Promise<void> },
) => unknown | Promise<unknown>

/** A server object of an official SDK. */
export interface ConnectableServer { connect(transport: any): Promise<void> }

declare const perLinkBrand: unique symbol
/** An upstream that is made anew for each link of the gateway. */
export interface PerLink { [perLinkBrand]: true }

/** An upstream that is made anew for each link of the gateway: `perLink(() => new McpServer(…))`. */
export declare function perLink(make: () => ConnectableServer | Promise<ConnectableServer>): PerLink

/**
 * A gateway with threads of its own. Two gateways of one process share nothing.
 *
 * A call under way keeps the process alive; an open gateway, and a server that lives in it, do not.
 */
export declare class Gateway implements AsyncDisposable {
  private constructor()
  /** Opens a gateway; it reads neither the environment nor a file that is not named. */
  static open(options?: OpenOptions): Promise<Gateway>

  register(registration: Registration): Promise<Server>
  /** Changes a server, by its name or id; with `revision`, only if that is still its revision. */
  update(server: string, changes: Partial<Registration>, options?: { revision?: number }): Promise<Server>
  remove(server: string, options?: { revision?: number }): Promise<null>
  /** Takes up definitions that wait for approval. */
  approve(server: string): Promise<Server>
  get(server: string): Promise<Server>
  list(filter?: ListFilter): Promise<ServerPage>
  /** The servers that offer all of these, healthy or not. */
  findTools(...names: string[]): Promise<FoundTools>
  findResources(...uris: string[]): Promise<FoundResources>
  findPrompts(...names: string[]): Promise<FoundPrompts>
  search(query: string, options?: { limit?: number }): Promise<SearchAnswer>
  capabilities(server: string): Promise<Capabilities>
  /** Asks a server now what it offers. */
  discover(server: string, options?: { signal?: AbortSignal }): Promise<Capabilities>
  /** Probes a server now. */
  health(server: string, options?: { signal?: AbortSignal }): Promise<HealthCheck>
  /** Examines a server step by step, and says what to do. */
  diagnose(server: string, options?: { signal?: AbortSignal }): Promise<Diagnosis>
  healthHistory(server: string, options?: { limit?: number }): Promise<HealthHistory>
  stats(): Promise<Stats>
  metrics(): Promise<RouterMetrics>
  activeRequests(): Promise<ActiveRequests>
  cancelRequest(requestId: string): Promise<null>
  /** Whom a credential stands for; without one, the program itself. */
  authenticate(authorization?: string): Promise<Identity>
  /** As `authenticate`; an error of kind `permission_denied` if whoever it is may not do `operation`, such as `tools.call`. */
  authorize(operation: string, options?: { authorization?: string }): Promise<Identity>

  createKey(wish: KeyWish): Promise<NewApiKey>
  getKey(key: string): Promise<ApiKey>
  listKeys(options?: { page?: number; limit?: number }): Promise<ApiKeyPage>
  /** Replaces a key; the old one holds for another 24 hours. */
  rotateKey(key: string): Promise<NewApiKey>
  revokeKey(key: string): Promise<null>

  createTenant(id: string, options?: { displayName?: string }): Promise<Tenant>
  getTenant(tenant: string): Promise<Tenant>
  listTenants(): Promise<TenantList>
  updateTenant(tenant: string, changes: { displayName?: string; enabled?: boolean }): Promise<Tenant>
  /** Deletes a tenant with its servers; its audit trail stays. */
  deleteTenant(tenant: string): Promise<null>

  /** Sets a credential that the gateway sends to a server; the value is kept sealed and never shown. */
  setCredential(server: string, credential: NewCredential): Promise<Credential>
  listCredentials(server: string): Promise<CredentialList>
  removeCredential(server: string, header: string, options?: { subject?: string }): Promise<null>
  /** Begins an OAuth login of the gateway at a server. */
  beginLogin(server: string, wish: LoginWish): Promise<Login>
  /** Ends a login with what the browser brought to `redirectUri`. */
  finishLogin(answer: { state: string; code: string; iss?: string; redirectUri?: string }): Promise<Credential>

  /** A page of the audit trail, newest first. */
  audit(search?: AuditSearch): Promise<AuditPage>
  /** Follows the chain of the audit trail from the first row that is kept to its signed end. */
  verifyAudit(): Promise<AuditChain>

  /**
   * Calls a tool: `service__tool`, or the tool's own name with `service`.
   *
   * Throws `ToolError` if the tool reports an error, `GatewayError` if the call fails.
   */
  callTool(name: string, args?: object, options?: ToolCallOptions): Promise<ToolResult>
  readResource(uri: string, options?: CallOptions): Promise<JsonObject>
  getPrompt(name: string, args?: object, options?: CallOptions): Promise<JsonObject>
  complete(ref: JsonObject, argument: JsonObject, options?: CallOptions & { context?: JsonObject }): Promise<JsonObject>
  listTools(options?: PageOptions): Promise<{ tools: JsonObject[]; nextCursor?: string }>
  listResources(options?: PageOptions): Promise<{ resources: JsonObject[]; nextCursor?: string }>
  listResourceTemplates(options?: PageOptions): Promise<{ resourceTemplates: JsonObject[]; nextCursor?: string }>
  listPrompts(options?: PageOptions): Promise<{ prompts: JsonObject[]; nextCursor?: string }>
  /** Any other MCP request. */
  request(method: string, params?: JsonObject, options?: CallOptions): Promise<JsonObject>

  /** Any verb of the core with its document, for what has no method here yet. */
  perform(verb: string, document: JsonObject, options?: { signal?: AbortSignal }): Promise<Json>

  /** Picks a server of a service for a caller that talks to it itself, without waiting; `key` is what consistent hashing goes by. */
  pick(service: string, key?: string): Lease
  /** Changes of servers from now on. */
  events(options?: { signal?: AbortSignal }): ServerEvents
  /** A client's way into the gateway, of either era: `await client.connect(gateway.transport())`. */
  transport(options?: { service?: string; authorization?: string; builtin?: boolean }): GatewayTransport
  /** Registers a server of this process: an SDK's server object, one for each link, or a function that answers messages. */
  registerInprocess(
    name: string,
    upstream: ConnectableServer | (() => ConnectableServer | Promise<ConnectableServer>) | PerLink | MessageHandler,
    registration?: { /** Called with the error of a server that cannot be connected. */ onerror?: (error: unknown) => void } & Omit<Registration, 'name' | 'endpointUrl' | 'command'>,
  ): Promise<{ /** The server is not there any more, but registered still. */ close(): void }>

  /** Whether it was closed. */
  readonly isClosed: boolean
  /** Takes no new calls, lets those under way end within the configuration's `server.grace_seconds`, then ends everything. */
  close(options?: { /** Milliseconds that calls in progress may go on. */ timeout?: number }): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/**
 * A part of the HTTP surface beside MCP: `rest` is the administration and the registry's read API, `events` the changes of servers,
 * `metrics` and `health` are for operation, `docs` are the descriptions of the routes; `builtin` is the gateway's own MCP service, with
 * which clients register and remove servers.
 */
export type Part = 'rest' | 'events' | 'metrics' | 'docs' | 'health' | 'builtin'

/** Where the HTTP surface is mounted, what it serves, and who asks. */
export interface HandlerOptions<Request> {
  /** What the paths begin with that lead here: `/api` for `/api/mcp`. */
  prefix?: string
  /** What is served beside MCP; nothing unless said. */
  expose?: Part[]
  /**
   * The client's address, by which those who guess credentials are told apart. `nodeHandler` has that of the connection; a request of the
   * fetch kind has none. Without authentication configured, connections from this machine alone are let in, as administrator: an address
   * that is said here makes nobody local, and such a caller needs a credential.
   */
  peer?: (request: Request, context?: unknown) => string | undefined
  /**
   * `development` takes the word of `peer` for an address of this machine, so that without authentication configured its owner is the
   * gateway's administrator. With `NODE_ENV` `production` the handler is not made.
   */
  trust?: 'development'
}

/** A framework's context that has the request, such as Hono's. */
export interface FetchContext { req: { raw: Request } }

/** Handlers for Next.js and other servers of the fetch kind. */
export declare function createHandlers(
  gateway: Gateway | Promise<Gateway>,
  options?: HandlerOptions<Request>,
): Record<'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE' | 'OPTIONS' | 'fetch', (request: Request | FetchContext, context?: unknown) => Promise<Response>>

/** A handler for Express and `node:http`. It reads the request itself: it stands before what parses bodies. */
export declare function nodeHandler(
  gateway: Gateway | Promise<Gateway>,
  options?: HandlerOptions<IncomingMessage>,
): (
  request: IncomingMessage & { originalUrl?: string },
  response: ServerResponse,
  next?: (error: unknown) => void,
) => Promise<void>

/**
 * What `open` gives, once in this process: it survives hot reload, and modules that are loaded twice. If opening fails, who asks next
 * opens anew.
 */
export declare function sharedGateway<Opened = Gateway>(open: () => Opened | Promise<Opened>): Promise<Opened>
