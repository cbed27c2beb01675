//! The handle: every method by which an entry point, a binding or an embedding program uses the gateway.
//!
//! [`Gateway::handle`] takes MCP calls (`pipeline.rs` reads from top to bottom); the other methods administer the register and
//! report the current state. Clones share one gateway; [`Gateway::shutdown`] ends it.

mod session;
mod upstream;
mod routing;
mod call;
mod background;
mod legacy;
mod bridge;
mod modern;
mod settings;
mod forward;
mod shared_reads;
mod pipeline;
mod api;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;

pub use self::api::admitted::{AdmissionRequest, Admitted};
pub use self::api::credentials::CredentialScope;
pub use self::api::diagnose::{Diagnosis, DiagnosisStep, StepOutcome};
pub use self::api::events::{Change, Events, Heard, SILENCE};
pub use self::api::hosted::Hosted;
#[cfg(feature = "oauth")]
pub use self::api::logins::{LoginAnswer, LoginAsked, LoginBegun, LoginWish};
pub use self::api::metrics::{MAX_SERVICES, ServiceMetrics};
pub use self::api::picked::Picked;
pub(crate) use self::api::picked::Picker;
pub use self::api::published::{Published, PublishedFilter};
pub use self::api::reads::{ActiveRequest, Components, GatewayStats, Offered, RouterMetrics, Stats};
pub use self::api::request::{Answer, McpRequest};
pub use self::api::tenants::TenantPatch;
pub use self::call::builtin::{BuiltinCall, BuiltinItem, BuiltinService, CONFIG};
#[cfg(feature = "server")]
pub(crate) use self::call::proxy::read as read_proxied;
pub use self::legacy::client_connection::ClientConnection;
pub use self::session::open_streams::OpenStream;
use self::session::open_streams::OpenStreams;
pub use self::settings::{SessionSettings, Settings};
pub use crate::auth::Caller;
use crate::auth::{Access, Authenticator, Credentials, Keys, LocalToken};
use crate::clock::Clock;
use crate::cluster::Cluster;
pub use crate::discovery::{Found, Hit};
use crate::error::{Error, ErrorKind, Result};
use crate::health::Monitor;
use crate::limit::{Admission, Limiter};
use crate::model::{Server, TenantId};
pub use crate::observe::Attempt;
use crate::observe::{ActiveCalls, CallMetrics, Observer, Observers, Trail};
use crate::random::Random;
use crate::registry::Registry;
use crate::store::Store;
use crate::store::presence::Presence;
use crate::tasks::Tasks;
use crate::transport::credential_provider::CredentialProvider;
use crate::transport::guard::Guard;
use crate::transport::in_process::InProcessServers;
use crate::transport::unread::UnreadBytes;
use crate::transport::{self, Connector};

/// The gateway. Clones share it.
///
/// Its methods take the [`Caller`] for whom they act:
///
/// ```
/// use mcp_registry_gateway::error::Delivery;
/// use mcp_registry_gateway::{Caller, Filter, Gateway, Registration};
/// use serde_json::json;
///
/// # #[tokio::main]
/// # async fn main() -> mcp_registry_gateway::Result<()> {
/// let (gateway, us) = (Gateway::builder().open().await?, Caller::local());
/// let registered = gateway.register(&us, Registration::at("docs", "http://127.0.0.1:9/mcp")).await?;
/// assert_eq!(gateway.list(&us, &Filter::default())?.total, 1);
///
/// // Nobody listens there.
/// let failed = gateway.call_tool(&us, "docs__search", &json!({ "query": "mcp" })).await.unwrap_err();
/// assert_eq!(failed.delivery(), Delivery::NotSent);
/// gateway.remove(&us, registered.id, None).await?;
/// gateway.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Gateway(Arc<Core>);

/// Returns the connector to a registered server; nothing is opened or started yet.
type Connect = Box<dyn Fn(&Arc<Server>) -> Result<Arc<dyn Connector>> + Send + Sync>;

struct Core {
    settings: Settings,
    connect: Connect,
    clock: Arc<dyn Clock>,
    random: Arc<Random>,
    /// The seed of balancing; each service mixes its name in.
    seed: u64,
    tasks: Tasks,
    registry: Arc<Registry>,
    store: Arc<dyn Store>,
    cluster: Cluster,
    /// The credentials that the gateway sends to servers.
    book: Arc<upstream::credential_cache::CredentialCache>,
    #[cfg(feature = "oauth")]
    logins: api::logins::Logins,
    overrides: upstream::overrides::Overrides,
    router: routing::router::Router,
    sessions: session::sessions::Sessions,
    modern: modern::ModernState,
    calls: ActiveCalls,
    #[cfg_attr(not(feature = "server"), expect(dead_code, reason = "the HTTP surface reads it"))]
    unread: Arc<UnreadBytes>,
    observers: Observers,
    call_metrics: Arc<CallMetrics>,
    audit: Arc<call::audit::CallAudit>,
    auth: Arc<dyn Authenticator>,
    keys: Arc<Keys>,
    limiter: Limiter,
    trail: Arc<Trail>,
    retries: call::retries::RetryBudget,
    reads: call::reads::SharedReads,
    overdue: routing::catalog::Overdue,
    monitor: Arc<Monitor>,
    discoveries: routing::discover::Discoveries,
    problems: routing::problems::Problems,
    stopping: AtomicBool,
    streams: OpenStreams,
    gone: api::tenants::Gone,
    /// The access rules beyond roles, as they were configured last.
    access: ArcSwap<Access>,
    owners: call::owners::Owners,
    given_uris: call::given::GivenUris,
    opened_at: jiff::Timestamp,
    /// Keeps other processes out of the database, if this gateway does so.
    presence: std::sync::Mutex<Option<Presence>>,
}

/// The parts of a gateway that take time to make, or can fail to be made.
struct Parts {
    settings: Settings,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    random: Arc<Random>,
    tasks: Tasks,
    book: Arc<upstream::credential_cache::CredentialCache>,
    connect: Connect,
    registry: Arc<Registry>,
    keys: Arc<Keys>,
    auth: Arc<dyn Authenticator>,
    trail: Arc<Trail>,
    modern: modern::ModernState,
    claims: HashMap<TenantId, Arc<routing::claims::Claims>>,
    cluster: Cluster,
}

impl Gateway {
    /// Opens a gateway on the data in `store`, and begins to probe and to discover. Must be called within a tokio runtime.
    ///
    /// [`ErrorKind::Storage`] if the store cannot be read.
    pub async fn open(settings: Settings, store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Result<Self> {
        let random = Arc::new(settings.seed.map_or_else(Random::from_entropy, Random::seeded));
        let tasks = Tasks::default();
        let book = Arc::new(
            upstream::credential_cache::CredentialCache::load(settings.vault.clone(), &*store, &clock)
                .await?,
        );
        let means = transport::TransportContext {
            clock: Arc::clone(&clock),
            tasks: tasks.clone(),
            random: Arc::clone(&random),
            guard: settings.guard.clone(),
            provider: Arc::clone(&book) as Arc<dyn CredentialProvider>,
            residents: settings.residents.clone(),
            connectors: settings.connectors.clone(),
            starts: Arc::new(upstream::starts::Trail {
                store: Arc::clone(&store),
                clock: Arc::clone(&clock),
            }),
        };
        settings.guard.leave_to_program(settings.connectors.keys().cloned());
        let connect: Connect = Box::new(move |server| transport::connect(server, &means));
        Self::open_with(settings, store, clock, random, tasks, book, connect).await
    }

    async fn open_with(
        mut settings: Settings,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        random: Arc<Random>,
        tasks: Tasks,
        book: Arc<upstream::credential_cache::CredentialCache>,
        connect: Connect,
    ) -> Result<Self> {
        let registry = Arc::new(
            Registry::guarded(Arc::clone(&store), Arc::clone(&clock), settings.guard.clone()).await?,
        );
        let token = settings.local_token.take().map_or_else(|| LocalToken::in_memory().map(Arc::new), Ok)?;
        let keys = Arc::new(Keys::open(Arc::clone(&store).api_keys(), Arc::clone(&clock)).await?);
        let auth = authenticator(&settings, &keys, &store, &clock, &tasks, &token)?;
        settings.local_token = Some(token);
        let modern = modern::ModernState::new(settings.vault.as_deref())?;
        let claims = routing::claims::load(&*store).await?;
        let (trail, rows) = Trail::new(Arc::clone(&store), &settings.audit);
        tasks.spawn_to_end(Arc::clone(&trail).run(rows, tasks.token().clone()));
        let cluster = settings.cluster.clone().unwrap_or_else(|| Cluster::local(&clock));
        let parts = Parts {
            settings,
            store,
            clock,
            random,
            tasks,
            book,
            connect,
            registry,
            keys,
            auth,
            trail,
            modern,
            claims,
            cluster,
        };
        let inner = Arc::new_cyclic(|this| Core::of(this, parts));
        inner.book.kept_by(Arc::downgrade(&inner));
        inner.gone.take_up(&inner.registry.tenants().await?);
        inner.refresh();
        inner.await_first_discoveries();
        inner.run_background();
        Ok(Self(inner))
    }

    /// Whether this gateway takes new calls: started, and not shutting down.
    pub fn is_ready(&self) -> bool {
        !self.0.is_stopping()
    }

    /// The number of servers known at the start that still have to be asked for their capabilities for the first time: those of
    /// the register, and those of the configuration. The gateway has started once there is none, whatever the servers answered.
    pub fn awaited_servers(&self) -> usize {
        self.0.awaited_discoveries()
    }

    /// Authenticates credentials for entry points that administer rather than call: returns the caller for the methods of this
    /// handle.
    pub async fn authenticate(&self, credentials: &Credentials, correlation_id: &Arc<str>) -> Result<Caller> {
        let principal = self.0.auth.authenticate(credentials).get().await?;
        self.0.gone.check(&principal)?;
        Ok(Caller::sent(principal, Arc::clone(correlation_id)))
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// The time at which it was opened.
    pub fn opened_at(&self) -> jiff::Timestamp {
        self.0.opened_at
    }

    /// A permit for a caller to go on, for entry points that administer rather than call: held until the answer is made. Calls
    /// of MCP are admitted by [`Gateway::handle`].
    ///
    /// Errors: [`ErrorKind::RateLimited`], [`ErrorKind::Unavailable`].
    pub async fn admit(&self, caller: &Caller) -> Result<Admission> {
        self.0.limiter.admit(&caller.principal).get().await
    }

    /// Replaces the access rules, for calls from now on.
    pub fn set_access(&self, access: Access) {
        self.0.restrict(access);
    }

    /// The guard of the addresses and programs that this gateway may use.
    pub fn guard(&self) -> &Guard {
        &self.0.settings.guard
    }

    /// The servers that live in this process: code that settles one registers it, too.
    pub fn residents(&self) -> &InProcessServers {
        &self.0.settings.residents
    }

    /// A server of the caller's tenant by its id or its name.
    pub fn named(&self, caller: &Caller, text: &str) -> Result<Arc<Server>> {
        if let Ok(id) = text.parse() {
            return self.get(caller, id);
        }
        let named = self.0.registry.find(&caller.principal.tenant, text).map(|server| server.id);
        let unknown =
            || Error::new(ErrorKind::NotFound, "no such server").with("server", routing::names::shown(text));
        self.get(caller, named.ok_or_else(unknown)?).map_err(|error| match error.kind() {
            // Hidden from the caller: as unknown as one that never was.
            ErrorKind::NotFound => unknown(),
            _ => error,
        })
    }

    /// The clock of this gateway.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.0.clock
    }

    /// The background tasks of this gateway: an entry point spawns its own here, so that shutdown waits for them.
    pub fn tasks(&self) -> &Tasks {
        &self.0.tasks
    }
}

/// The program's own authenticator, or the one in the settings.
fn authenticator(
    settings: &Settings,
    keys: &Arc<Keys>,
    store: &Arc<dyn Store>,
    clock: &Arc<dyn Clock>,
    tasks: &Tasks,
    token: &Arc<LocalToken>,
) -> Result<Arc<dyn Authenticator>> {
    if let Some(own) = &settings.authenticator {
        return Ok(Arc::clone(own));
    }
    let (auth, guard) = (&settings.auth, &settings.guard);
    background::access::authenticator(auth, keys, store, clock, tasks, guard, token)
}

/// The gateway's own observers of calls, and the list of all: its own, and those of the program.
fn observers_of(
    settings: &Settings,
    trail: &Arc<Trail>,
    clock: &Arc<dyn Clock>,
) -> (Arc<CallMetrics>, Arc<call::audit::CallAudit>, Observers) {
    let call_metrics = Arc::new(CallMetrics::default());
    let audit = Arc::new(call::audit::CallAudit {
        trail: Arc::clone(trail),
        clock: Arc::clone(clock),
        judges_credentials: settings.auth.is_configured(),
    });
    let built_in: Vec<Arc<dyn Observer>> = vec![Arc::clone(&call_metrics) as _, Arc::clone(&audit) as _];
    (call_metrics, audit, Observers::new(built_in, settings.observers.clone()))
}

/// The bytes that callers may leave unread.
fn unread_of(limits: &crate::limit::Settings, stop: &CancellationToken) -> Arc<UnreadBytes> {
    Arc::new(UnreadBytes::new(limits.unread_bytes_per_principal, limits.unread_bytes, stop.clone()))
}

impl Core {
    /// The gateway of these parts, with no call under way yet.
    fn of(this: &Weak<Self>, parts: Parts) -> Self {
        let Parts { settings, store, clock, random, tasks, book, connect, .. } = parts;
        let unread = unread_of(&settings.limits, &parts.modern.ending);
        let (call_metrics, audit, observers) = observers_of(&settings, &parts.trail, &clock);
        Self {
            trail: parts.trail,
            calls: ActiveCalls::new(&clock, &observers, Arc::clone(&unread)),
            unread,
            observers,
            call_metrics,
            audit,
            auth: parts.auth,
            keys: parts.keys,
            limiter: Limiter::counted_by(
                Arc::clone(&parts.cluster.counters),
                settings.limits.clone(),
                Arc::clone(&clock),
            ),
            monitor: background::probe::monitor(this, &clock, &random, &parts.cluster),
            cluster: parts.cluster,
            router: routing::router::Router::new(parts.claims, settings.own.is_some()),
            sessions: session::sessions::Sessions::default(),
            modern: parts.modern,
            retries: call::retries::RetryBudget::default(),
            reads: call::reads::SharedReads::default(),
            overdue: routing::catalog::Overdue::default(),
            #[cfg(feature = "oauth")]
            logins: api::logins::Logins::default(),
            overrides: upstream::overrides::Overrides::default(),
            discoveries: routing::discover::Discoveries::default(),
            problems: routing::problems::Problems::default(),
            stopping: AtomicBool::new(false),
            gone: api::tenants::Gone::default(),
            access: ArcSwap::from_pointee(settings.access.clone()),
            owners: call::owners::Owners::default(),
            given_uris: call::given::GivenUris::default(),
            streams: OpenStreams::new(settings.limits.streams_per_principal, session::open_streams::MOST),
            opened_at: clock.timestamp(),
            presence: std::sync::Mutex::default(),
            settings,
            connect,
            clock,
            seed: random.next(),
            random,
            tasks,
            registry: parts.registry,
            store,
            book,
        }
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").finish_non_exhaustive()
    }
}
