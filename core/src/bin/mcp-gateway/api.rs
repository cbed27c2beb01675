//! The REST API, of a gateway that runs, or else of one opened on the data directory for the length of a command.
//!
//! Both are asked the very same requests: without a running gateway they are answered by the same service in process.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use mcp_registry_gateway::auth::LocalToken;
use mcp_registry_gateway::gateway::Gateway;
use mcp_registry_gateway::model::{Principal, TenantId};
use mcp_registry_gateway::server::caller_tls::Trust;
use mcp_registry_gateway::server::{ActingAs, Exposed, Peer, Service};
use mcp_registry_gateway::store::{DataLoss, StoreLocation, presence};
use serde::Serialize;
use serde_json::Value;
use tower::ServiceExt;

use super::client::{Client, Reply};
use super::exit::Failure;
use super::wiring::Common;

/// Longest wait for an answer of the REST API: a probe may take its 10 s.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Where the gateway is.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct At {
    /// The running gateway [default: the one that serves the database, else http://127.0.0.1:PORT, with the configuration's port]
    #[arg(long, env = "MREG_URL")]
    url: Option<String>,
    /// The API key to send [default: the local token, if the gateway serves this database]; other users of this machine can read
    /// a command line, so rather say it by the variable
    #[arg(long, env = "MREG_KEY", hide_env_values = true)]
    key: Option<String>,
    /// Certificate authorities in PEM form that the CLI trusts for the gateway at the URL [default: this machine's]
    #[arg(long, env = "MREG_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

impl At {
    /// Whether a gateway was named by its URL.
    pub(crate) fn names_a_gateway(&self) -> Result<bool, Failure> {
        Ok(self.url()?.is_some())
    }

    /// The URL: of the option, of the environment, or else of `.env`.
    ///
    /// A `.env` must not lead a key of the environment to a gateway of its own choice: a key goes there only if `.env` has that, too.
    fn url(&self) -> Result<Option<String>, Failure> {
        if self.url.is_some() {
            return Ok(self.url.clone());
        }
        let url = Common::dotenv_value("MREG_URL")?;
        if let (Some(url), Some(_)) = (&url, &self.key) {
            return Err(Failure::usage(format!(
                "the key is not sent to {url}: `.env` names this gateway, and the key does not come from `.env`; \
                 say --url {url} if that is the gateway you mean"
            )));
        }
        Ok(url)
    }

    /// The key: of the option, of the environment, or else of `.env`.
    fn key(&self) -> Result<Option<String>, Failure> {
        match &self.key {
            Some(key) => Ok(Some(key.clone())),
            None => Common::dotenv_value("MREG_KEY"),
        }
    }

    fn ca_file(&self) -> Result<Option<PathBuf>, Failure> {
        match &self.ca_file {
            Some(file) => Ok(Some(file.clone())),
            None => Ok(Common::dotenv_value("MREG_CA_FILE")?.map(PathBuf::from)),
        }
    }

    /// The client of the gateway at this URL.
    pub(crate) fn client(&self, common: &Common) -> Result<Client, Failure> {
        if let Some(url) = self.url()? {
            let trust = self.ca_file()?.as_deref().map(Trust::authorities).transpose()?;
            // Which database it has is asked for the token alone: without any it is a gateway elsewhere.
            let location = common.configuration().and_then(|config| common.location(&config)).ok();
            let own = location.as_ref().filter(|location| {
                presence::serving(location).is_some_and(|own| own == url.trim_end_matches('/'))
            });
            return Client::new(&url, self.credential(own.and_then(StoreLocation::file))?.as_deref(), trust);
        }
        let config = common.configuration()?;
        let trust = Trust::own(&config.server.tls)?;
        let location = common.location(&config)?;
        let serving = presence::serving(&location);
        let key = self.credential(location.file().filter(|_| serving.is_some()))?;
        let url = serving.unwrap_or_else(|| {
            let scheme = if config.server.tls.is_on() { "https" } else { "http" };
            format!("{scheme}://127.0.0.1:{}", config.server.port)
        });
        Client::new(&url, key.as_deref(), trust)
    }

    /// The credential to send: the key, or else the local token of the gateway that serves `database` now, which is sent to no
    /// other gateway. Where the token cannot be read, the gateway names the operations that need it.
    fn credential(&self, database: Option<&Path>) -> Result<Option<String>, Failure> {
        let token = || LocalToken::find(database?).ok().flatten();
        Ok(self.key()?.or_else(token))
    }

    /// The running gateway; without one, and without a URL that was asked for, one opened on the data directory.
    pub(crate) async fn api(&self, common: &Common) -> Result<Api, Failure> {
        let client = self.client(common)?;
        let named = self.names_a_gateway()?;
        match client.send(Method::GET, "/ready", &[], None, Duration::from_secs(3)).await {
            Ok(reply)
                if serde_json::from_slice::<Value>(&reply.body)
                    .is_ok_and(|body| body["ready"].is_boolean()) =>
            {
                Ok(Api::Running(client))
            }
            Ok(_) if named => {
                Err(Failure::unreachable(format!("what answers at {} is not a gateway", client.base())))
            }
            Err(failure) if named || !failure.is_unreachable() => Err(failure),
            Ok(_) | Err(_) => Api::open(common).await,
        }
    }
}

/// The REST API.
pub(crate) enum Api {
    /// Of a gateway that runs.
    Running(Client),
    /// Of one in this process.
    Opened {
        /// The gateway.
        gateway: Gateway,
        /// Its HTTP surface.
        service: Box<Service>,
        /// The database's file.
        place: String,
    },
}

impl Api {
    async fn open(common: &Common) -> Result<Self, Failure> {
        let config = common.configuration()?;
        let place = common.location(&config)?.to_string();
        let gateway = common.open(&config, None, &[], DataLoss::Refuse).await?;
        let service = Box::new(gateway.service().exposing(Exposed::EVERYTHING));
        Ok(Self::Opened { gateway, service, place })
    }

    /// The gateway or database that was asked, for people.
    pub(crate) fn place(&self) -> String {
        match self {
            Self::Running(client) => format!("the gateway at {}", client.base()),
            Self::Opened { place, .. } => format!("{place}, as no gateway is running"),
        }
    }

    /// Sends a request; an error of the API is a [`Failure`] with its message.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&(impl Serialize + Sync)>,
    ) -> Result<Value, Failure> {
        self.ask_within(method, path, body, TIMEOUT).await
    }

    /// The same with a longest wait of its own, for answers that take their time.
    pub(crate) async fn ask_within(
        &self,
        method: Method,
        path: &str,
        body: Option<&(impl Serialize + Sync)>,
        timeout: Duration,
    ) -> Result<Value, Failure> {
        let (status, answer) = self.send_within(method, path, body, timeout).await?;
        if status.is_success() { Ok(answer) } else { Err(Failure::failed(message(status, &answer))) }
    }

    /// Sends a request and returns the status and the JSON of the answer, `null` for an empty one.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&(impl Serialize + Sync)>,
    ) -> Result<(StatusCode, Value), Failure> {
        self.send_within(method, path, body, TIMEOUT).await
    }

    async fn send_within(
        &self,
        method: Method,
        path: &str,
        body: Option<&(impl Serialize + Sync)>,
        timeout: Duration,
    ) -> Result<(StatusCode, Value), Failure> {
        let body =
            body.map(serde_json::to_vec).transpose().map_err(|error| Failure::failed(error.to_string()))?;
        let body = body.map(Bytes::from);
        let reply = match self {
            Self::Running(client) => client.send(method, path, &[], body, timeout).await?,
            Self::Opened { service, .. } => in_process(service, method, path, body).await?,
        };
        if reply.body.is_empty() {
            return Ok((reply.status, Value::Null));
        }
        let answer = serde_json::from_slice(&reply.body)
            .map_err(|error| Failure::failed(format!("the answer is not JSON: {error}")))?;
        Ok((reply.status, answer))
    }

    /// Ends a gateway that was opened for this command.
    pub(crate) async fn close(self) {
        if let Self::Opened { gateway, .. } = self {
            gateway.shutdown(Duration::from_secs(5)).await;
        }
    }
}

async fn in_process(
    service: &Service,
    method: Method,
    path: &str,
    body: Option<Bytes>,
) -> Result<Reply, Failure> {
    let request = Request::builder().method(method).uri(path).header(HOST, "localhost");
    let request = request.header(CONTENT_TYPE, "application/json");
    let peer = Peer(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    // A user that can open the database is its administrator.
    let owner = ActingAs(Principal::local(TenantId::default_tenant()));
    let request = request
        .extension(peer)
        .extension(owner)
        .body(Full::new(body.unwrap_or_default()))
        .map_err(|error| Failure::usage(format!("`{path}` cannot be asked for: {error}")))?;
    let (head, body) = match service.clone().oneshot(request).await {
        Ok(response) => response.into_parts(),
        Err(never) => match never {},
    };
    let body = body.collect().await.map_err(|error| Failure::failed(error.to_string()))?.to_bytes();
    Ok(Reply { status: head.status, headers: head.headers, body })
}

/// The message of an error of the API, with its details.
pub(crate) fn message(status: StatusCode, answer: &Value) -> String {
    let error = &answer["error"];
    let Some(message) = error["message"].as_str() else { return format!("the gateway answered {status}") };
    let details = error["details"].as_object().into_iter().flatten();
    let details: Vec<String> =
        details.map(|(key, value)| format!("{key}: {}", value.as_str().unwrap_or_default())).collect();
    if details.is_empty() { message.to_owned() } else { format!("{message} ({})", details.join(", ")) }
}
