//! Opening a session with a server whose era is not known, or is the modern one: `server/discover` is asked once and
//! introduces the server; there is no handshake, and the link carries any client's requests.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{HandshakeMode, Hello, INITIALIZE_ID, Session, ask, declared, handshake, unsupported};
use crate::error::{Cause, Delivery, ErrorKind, Result};
use crate::rpc::version::{Era, MODERN};
use crate::rpc::{Edit, Members, Message, Method, meta};
use crate::transport::{Connector, Link, Outgoing};

/// How long the answer to `server/discover` is waited for before `initialize` is tried beside it: some legacy servers never
/// answer a method that they do not know.
const PATIENCE: Duration = Duration::from_millis(500);

/// The id of `server/discover` on a link of unknown era; `initialize` has the one before it.
const DISCOVER_ID: u64 = INITIALIZE_ID + 1;
/// The id of a second `server/discover`; later ids count on from it.
const AGAIN_ID: u64 = DISCOVER_ID + 1;

/// The era of a server, as found.
enum FoundEra {
    Modern(Message),
    /// Modern, and `initialize` was sent on the same link before that was known: a server that speaks both eras may be bound to
    /// the other one there.
    Muddled,
    Legacy(Message, String),
}

/// [`MODERN`] as a JSON string.
const MODERN_RAW: &str = r#""2026-07-28""#;

impl Hello {
    /// The members of `_meta` by which every modern request introduces this client, but for the log level: keys and raw
    /// values.
    pub fn meta(&self) -> [(&'static str, &str); 3] {
        [
            (meta::PROTOCOL_VERSION, MODERN_RAW),
            (meta::CLIENT_INFO, &self.client_info),
            (meta::CLIENT_CAPABILITIES, &self.capabilities),
        ]
    }

    /// `params`, a raw object, with those members in its `_meta`.
    ///
    /// [`ErrorKind::InvalidRequest`] if `params` is not an object.
    pub fn dress(&self, params: Option<&str>) -> Result<String> {
        let mut edit = Edit::of(params.unwrap_or("{}"))?;
        meta::set(&mut edit, &self.meta())?;
        Ok(edit.apply())
    }
}

impl Session {
    /// Opens a link and finds out the server's era: `server/discover` first, then, where the server does not understand that,
    /// `initialize` on the same link. Errors as [`Session::open`]'s; and those of `server/discover` where they say nothing of the
    /// server's era: it cannot be reached, or refuses the gateway.
    pub async fn probe(
        connector: &dyn Connector,
        hello: &Hello,
        own: bool,
        timeout: Duration,
    ) -> Result<Arc<Self>> {
        Self::open_as(HandshakeMode::Either, connector, hello, own, timeout).await
    }

    /// Opens a link to a server of the modern era. Errors as [`Session::open`]'s;
    /// [`ErrorKind::UnsupportedVersion`] if the server does not understand `server/discover`.
    pub async fn open_modern(
        connector: &dyn Connector,
        hello: &Hello,
        own: bool,
        timeout: Duration,
    ) -> Result<Arc<Self>> {
        Self::open_as(HandshakeMode::Modern, connector, hello, own, timeout).await
    }

    pub(super) async fn introduced(link: &Arc<dyn Link>, own: bool, hello: &Hello) -> Result<Arc<Self>> {
        match verdict(discover(link.as_ref(), hello).await)? {
            Some(answer) => Ok(Self::modern(link, own, hello, answer)),
            None => Err(unsupported("others than 2026-07-28", hello)),
        }
    }

    pub(super) async fn probed(
        link: &Arc<dyn Link>,
        connector: &dyn Connector,
        own: bool,
        hello: &Hello,
    ) -> Result<Arc<Self>> {
        match probe(link.as_ref(), hello).await {
            Ok(FoundEra::Modern(answer)) => Ok(Self::modern(link, own, hello, answer)),
            Ok(FoundEra::Muddled) => {
                link.close().await;
                let again = connector.connect(own).await?;
                let introduced = Self::introduced(&again, own, hello).await;
                if introduced.is_err() {
                    again.close().await;
                }
                introduced
            }
            Ok(FoundEra::Legacy(answer, version)) => Ok(Self::legacy(link, own, answer, version, AGAIN_ID)),
            Err(error) if link.is_open() => Err(error),
            // A child that exited over a request that it did not know; another one gets the legacy handshake.
            Err(ended) => {
                let again = match connector.connect(own).await {
                    Ok(again) => again,
                    // Why it ended says more than that its next start is put off.
                    Err(error) if *error.cause() == Cause::PutOff => return Err(ended),
                    Err(error) => return Err(error),
                };
                let shaken = handshake(again.as_ref(), hello).await;
                if shaken.is_err() {
                    again.close().await;
                }
                shaken.map(|(answer, version)| Self::legacy(&again, own, answer, version, AGAIN_ID))
            }
        }
    }

    /// A session over a link that speaks for a server of which `introduction`, a response, is known. Its ids come from
    /// `ids`, which others may share.
    pub fn over(
        link: Arc<dyn Link>,
        own: bool,
        introduction: Message,
        version: &str,
        ids: Arc<AtomicU64>,
    ) -> Arc<Self> {
        let declared = declared(&introduction);
        let version = version.to_owned();
        Arc::new(Self {
            link,
            own,
            answer: introduction,
            version,
            era: Era::Legacy,
            hello: None,
            declared,
            ids,
            closed: CancellationToken::new(),
        })
    }

    /// The same session, with own requests that introduce another client. The ids stay one sequence.
    #[must_use]
    pub fn introduced_as(&self, hello: &Hello) -> Arc<Self> {
        Arc::new(Self {
            link: Arc::clone(&self.link),
            own: self.own,
            answer: self.answer.clone(),
            version: self.version.clone(),
            era: self.era,
            hello: Some(hello.clone()),
            declared: self.declared.clone(),
            ids: Arc::clone(&self.ids),
            closed: self.closed.clone(),
        })
    }

    /// The counter that this session's ids come from.
    pub fn ids(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.ids)
    }

    fn modern(link: &Arc<dyn Link>, own: bool, hello: &Hello, answer: Message) -> Arc<Self> {
        link.set_version(MODERN);
        Arc::new(Self {
            link: Arc::clone(link),
            own,
            declared: declared(&answer),
            answer,
            version: MODERN.into(),
            era: Era::Modern,
            hello: Some(hello.clone()),
            ids: Arc::new(AtomicU64::new(AGAIN_ID + 1)),
            closed: CancellationToken::new(),
        })
    }
}

async fn probe(link: &dyn Link, hello: &Hello) -> Result<FoundEra> {
    let shake =
        async || handshake(link, hello).await.map(|(answer, version)| FoundEra::Legacy(answer, version));
    let mut discovering = pin!(discover(link, hello));
    if let Ok(outcome) = tokio::time::timeout(PATIENCE, &mut discovering).await {
        return match verdict(outcome)? {
            Some(answer) => Ok(FoundEra::Modern(answer)),
            None => shake().await,
        };
    }
    let mut shaking = pin!(shake());
    tokio::select! {
        biased;
        outcome = &mut discovering => match verdict(outcome)? {
            // A server of this era alone refuses the other request, and soon: it stands behind the one that was answered.
            Some(answer) => match tokio::time::timeout(PATIENCE, shaking).await {
                Ok(Err(_)) => Ok(FoundEra::Modern(answer)),
                Ok(Ok(_)) | Err(_) => Ok(FoundEra::Muddled),
            },
            None => shaking.await,
        },
        outcome = &mut shaking => match outcome {
            Ok(found) => Ok(found),
            Err(error) => match verdict(discovering.await) {
                Ok(Some(answer)) => Ok(FoundEra::Modern(answer)),
                _ => Err(error),
            },
        },
    }
}

/// The answer to `server/discover`. A server that refuses the version and lists it all the same is asked once more: the client
/// SHOULD select a version from the list and retry (Versioning, Protocol Version Negotiation, 2026-07-28).
async fn discover(link: &dyn Link, hello: &Hello) -> Result<Message> {
    let params = hello.dress(None)?;
    let asked = async |id| {
        let method = Method::Discover;
        let body = Message::request(Some(id), method.as_str(), Some(&params));
        ask(
            link,
            Outgoing {
                id,
                method,
                body,
                correlation_id: None,
                headers: None,
                pauses: None,
                queued: None,
                call: None,
            },
        )
        .await
    };
    let answer = asked(DISCOVER_ID).await?;
    if refuses_what_it_speaks(&answer) { asked(AGAIN_ID).await } else { Ok(answer) }
}

fn refuses_what_it_speaks(answer: &Message) -> bool {
    let supported = || {
        let error = Members::parse(answer.error()?).ok()?;
        let unsupported = error.get("code")? == "-32022";
        let data = Members::parse(error.get("data")?).ok()?;
        serde_json::from_str::<Vec<String>>(data.get("supported")?).ok().filter(|_| unsupported)
    };
    supported().is_some_and(|versions| versions.iter().any(|version| version == MODERN))
}

/// The answer, if it is that of a server of the modern era; `None` if the server did not understand the question.
/// An error that says nothing of the era stays one.
fn verdict(outcome: Result<Message>) -> Result<Option<Message>> {
    match outcome {
        Ok(answer) => Ok(Some(answer).filter(speaks_modern)),
        Err(error) => {
            let says_nothing =
                matches!(error.upstream_status(), Some(401 | 403 | 407 | 408 | 429 | 502 | 503 | 504));
            if error.delivery() == Delivery::NotSent || says_nothing || error.kind() != ErrorKind::BadUpstream
            {
                return Err(error);
            }
            Ok(None)
        }
    }
}

fn speaks_modern(answer: &Message) -> bool {
    let supported = || {
        let result = Members::parse(answer.result()?).ok()?;
        serde_json::from_str::<Vec<String>>(result.get("supportedVersions")?).ok()
    };
    supported().is_some_and(|versions| versions.iter().any(|version| version == MODERN))
}

#[cfg(test)]
mod tests;
