//! The task of one connection: it reads requests, has them answered, and is closed when its client has tried its patience.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io::Write as _;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use axum::body::Body;
use http::header::{CONNECTION, HeaderValue, TRANSFER_ENCODING};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::deferred_waker::DeferredWaker;
use super::framing_guard::{FramingGuard, Noted};
use super::limits::ConnectionSlot;
use super::timeouts::{ActivityMonitor, Answering, Listened};
use super::tls::Certificate;
use super::wake_gate::WakeGate;
use crate::server::serve::Answers;

/// Bytes that the system takes for a client ahead of those that it was sent: with fewer the pace at which a client reads is seen.
#[cfg(target_os = "linux")]
const AHEAD: u32 = 128 * 1024;

/// The answer to a connection for which there is no room.
const NO_ROOM: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: 97\r\nRetry-After: 1\r\n\
    Connection: close\r\n\r\n\
    the gateway has as many connections as it may have (`limits.max_connections`); try again shortly\n";

/// The peer of a connection, and the service that answers it.
pub(crate) struct Caller<S> {
    pub(crate) peer: SocketAddr,
    pub(crate) service: S,
    pub(crate) stop: CancellationToken,
    pub(crate) keep_alive: bool,
    pub(crate) activity: Arc<ActivityMonitor>,
    pub(crate) slot: ConnectionSlot,
}

/// Tells a client that there is no room for its connection, as far as that costs nothing.
pub(crate) fn refuse(mut stream: std::net::TcpStream, speaks_tls: bool) {
    if !speaks_tls {
        // The socket does not block, and its buffer is empty.
        let _ = stream.write(NO_ROOM);
        let _ = stream.shutdown(std::net::Shutdown::Write);
    }
}

pub(crate) async fn begin<S: Answers>(stream: TcpStream, tls: Option<Certificate>, caller: Caller<S>) {
    // Answers are small and written whole: waiting to fill a segment only delays them.
    let _ = stream.set_nodelay(true);
    #[cfg(target_os = "linux")]
    let _ = socket2::SockRef::from(&stream).set_tcp_notsent_lowat(AHEAD);
    match tls {
        None => connection(stream, caller).await,
        // Boxed, so that a connection without TLS does not carry the room for this.
        Some(tls) => {
            Box::pin(async move {
                let accepted = tokio::select! {
                    accepted = tls.accept(stream) => accepted,
                    // Without a handshake it rests.
                    () = caller.slot.closed() => None,
                };
                if let Some(stream) = accepted {
                    connection(stream, caller).await;
                }
            })
            .await;
        }
    }
}

async fn connection<T, S>(stream: T, caller: Caller<S>)
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    S: Answers,
{
    let Caller { peer, service, stop, keep_alive, activity, slot } = caller;
    let heads = FramingGuard::default();
    let requests = Requests::new(service, &activity, &heads, &slot);
    let answer = service_fn(move |request: Request<Incoming>| requests.answer(request));
    let (socket, pulse) = (TokioIo::new(Noted { stream, heads }), Arc::clone(&activity));
    let socket = Listened { socket, pulse, _kept: slot.clone() };
    let connection =
        http1::Builder::new().keep_alive(keep_alive).serve_connection(socket, answer).with_upgrades();
    let (mut connection, mut exhausted) = (pin!(connection), pin!(Arc::clone(&activity).exhausted()));
    let knock = Arc::new(DeferredWaker::default());
    let knocks = knock.waker();
    let (mut stopping, mut leaving) = (false, false);
    let ended = loop {
        let served = poll_fn(|cx| {
            knock.answered_by(cx);
            connection.as_mut().poll(&mut Context::from_waker(&knocks))
        });
        tokio::select! {
            // The connection's activity in this turn decides whether its patience is exhausted.
            biased;
            ended = served => break ended,
            reason = exhausted.as_mut() => {
                tracing::debug!(%peer, reason, "connection closed");
                break Ok(());
            }
            () = stop.cancelled(), if !stopping => {
                stopping = true;
                activity.stop();
                if keep_alive {
                    connection.as_mut().graceful_shutdown();
                }
            }
            () = slot.closed(), if !leaving => {
                if activity.can_close() {
                    tracing::debug!(%peer, "connection closed to make room for others");
                    break Ok(());
                }
                leaving = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "connection ended");
    }
}

/// The answering of the requests of one connection.
struct Requests<S> {
    service: S,
    pulse: Arc<ActivityMonitor>,
    heads: FramingGuard,
    slot: ConnectionSlot,
    turn: Arc<WakeGate>,
    waker: Waker,
}

impl<S: Answers> Requests<S> {
    fn new(service: S, pulse: &Arc<ActivityMonitor>, heads: &FramingGuard, slot: &ConnectionSlot) -> Self {
        let turn = Arc::new(WakeGate::default());
        let waker = Waker::from(Arc::clone(&turn));
        Self { service, pulse: Arc::clone(pulse), heads: heads.clone(), slot: slot.clone(), turn, waker }
    }

    fn answer(
        &self,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<Answering<Body>>, Infallible>> + Send + use<S> {
        let (under_way, slot) = (self.pulse.begin(), self.slot.clone());
        let fault = self.heads.next_fault();
        let chunked = request.headers().contains_key(TRANSFER_ENCODING);
        let answer = fault
            .is_none()
            .then(|| Arc::clone(&self.turn).take(self.waker.clone(), self.service.clone().call(request)));
        async move {
            let mut response = match answer {
                Some(answer) => answer.await?,
                None => doubtful(fault.unwrap_or_default()),
            };
            slot.touch();
            if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                slot.upgrade();
            }
            // RFC 9112, section 6.3: an intermediary may have read another length in a chunked request, and the bytes behind it
            // would be taken for a request. So nothing does.
            if chunked || fault.is_some() || slot.is_on_loan() {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response.map(|body| Answering { body, _kept: under_way }))
        }
    }
}

/// The answer to a request that could be read in two ways.
fn doubtful(why: &'static str) -> Response<Body> {
    let mut refused = Response::new(Body::from(why));
    *refused.status_mut() = StatusCode::BAD_REQUEST;
    refused
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_a_connection_without_room_has_the_length_that_it_says() {
        let text = std::str::from_utf8(NO_ROOM).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{}", body.len());
    }
}
