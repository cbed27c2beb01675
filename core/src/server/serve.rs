//! Serving a listener, until it is told to stop, without cutting requests under way.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use axum::body::Body;
use http::header::{CONNECTION, HeaderValue, TRANSFER_ENCODING};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::Service;

use crate::server::connection::deferred_waker::DeferredWaker;
use crate::server::connection::framing_guard::{FramingGuard, Noted};
use crate::server::connection::timeouts::{ActivityMonitor, Answering, Listened};
use crate::server::connection::tls::Certificate;
use crate::server::connection::wake_gate::WakeGate;
use crate::tasks::{Tasks, Workers};

/// Connections that are open at the same time at most; more wait in the listener's backlog.
const MAX_CONNECTIONS: usize = 10_000;

/// Wait after the system refused a connection, mostly for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A service that answers the requests of a connection: [`Service`](super::Service), or one that a program wraps around it. It is
/// called without being asked whether it is ready, as hyper does it: a limit is reported in its answer.
pub trait Answers:
    Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send>
    + Clone
    + Send
    + 'static
{
}

impl<S> Answers for S where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static
{
}

/// Serves `listener` with the service that `make` makes of the address of a connection's other end, such as
/// [`Service::for_peer`](super::Service::for_peer), until `stop` is cancelled and requests under way have ended, `grace` later at
/// the latest.
///
/// While it drains, new connections are still taken, for one request each: the gateway answers those it does not want
/// any more, which a client can send elsewhere, where a refused connection would be a failure to it.
///
/// With `tls`, connections are TLS, and others are told that they should be.
///
/// With `workers`, each connection stays on one of their threads; they must live until the gateway behind `service` has shut
/// down, since its calls run there too. Without, connections run where this runs.
pub async fn serve<F, S>(
    listener: TcpListener,
    make: F,
    tls: Option<Certificate>,
    workers: Option<&Workers>,
    stop: CancellationToken,
    grace: Duration,
) where
    F: Fn(SocketAddr) -> S + Send + Sync,
    S: Answers,
{
    let before = Tasks::default();
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let accepting =
        Accepting { listener: &listener, make: &make, tls: tls.as_ref(), workers, room: &room, stop: &stop };
    accepting.until(stop.cancelled(), &before, true).await;

    let late = Tasks::default();
    let drained = async {
        // A connection ends with the request that it is serving, or at once if it serves none.
        let _ = tokio::time::timeout(grace, before.finish()).await;
    };
    accepting.until(drained, &late, false).await;
    drop(listener);
    tokio::join!(before.stop(), late.stop());
}

struct Accepting<'a, F> {
    listener: &'a TcpListener,
    make: &'a F,
    tls: Option<&'a Certificate>,
    workers: Option<&'a Workers>,
    room: &'a Arc<Semaphore>,
    stop: &'a CancellationToken,
}

impl<F: Fn(SocketAddr) -> S, S: Answers> Accepting<'_, F> {
    /// Takes connections until `end`; each is one of `tasks`.
    async fn until(&self, end: impl Future<Output = ()>, tasks: &Tasks, keep_alive: bool) {
        let mut end = pin!(end);
        loop {
            let accepted = async {
                let permit = Arc::clone(self.room).acquire_owned().await;
                (permit, self.listener.accept().await)
            };
            let (permit, accepted) = tokio::select! {
                biased;
                () = &mut end => return,
                accepted = accepted => accepted,
            };
            // A socket belongs to the poll of the runtime that made it, so it is moved before it is used.
            match accepted.and_then(|(stream, peer)| Ok((stream.into_std()?, peer))) {
                Ok((stream, peer)) => {
                    let (service, stop) = ((self.make)(peer), self.stop.child_token());
                    let tls = self.tls.cloned();
                    let work = async move {
                        if let Ok(stream) = TcpStream::from_std(stream) {
                            let caller = Caller { peer, service, stop, keep_alive };
                            begin(stream, tls, caller).await;
                        }
                        drop(permit);
                    };
                    match self.workers {
                        Some(workers) => tasks.spawn_on(workers.next(), work),
                        None => tasks.spawn(work),
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// The peer of a connection, and the service that answers it.
struct Caller<S> {
    peer: SocketAddr,
    service: S,
    stop: CancellationToken,
    keep_alive: bool,
}

async fn begin<S: Answers>(stream: TcpStream, tls: Option<Certificate>, caller: Caller<S>) {
    // Answers are small and written whole: waiting to fill a segment only delays them.
    let _ = stream.set_nodelay(true);
    match tls {
        None => connection(stream, caller).await,
        // Boxed, so that a connection without TLS does not carry the room for this.
        Some(tls) => {
            Box::pin(async move {
                if let Some(stream) = tls.accept(stream).await {
                    connection(stream, caller).await;
                }
            })
            .await;
        }
    }
}

async fn connection<T, S>(stream: T, Caller { peer, service, stop, keep_alive }: Caller<S>)
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    S: Answers,
{
    let (pulse, heads) = (ActivityMonitor::new(), FramingGuard::default());
    let requests = Requests::new(service, &pulse, &heads);
    let answer = service_fn(move |request: Request<Incoming>| requests.answer(request));
    let socket = Listened { socket: TokioIo::new(Noted { stream, heads }), pulse: Arc::clone(&pulse) };
    let connection =
        http1::Builder::new().keep_alive(keep_alive).serve_connection(socket, answer).with_upgrades();
    let (mut connection, mut exhausted) = (pin!(connection), pin!(pulse.exhausted()));
    let knock = Arc::new(DeferredWaker::default());
    let knocks = knock.waker();
    let mut stopping = false;
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
            () = stop.cancelled(), if keep_alive && !stopping => {
                stopping = true;
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
    turn: Arc<WakeGate>,
    waker: Waker,
}

impl<S: Answers> Requests<S> {
    fn new(service: S, pulse: &Arc<ActivityMonitor>, heads: &FramingGuard) -> Self {
        let turn = Arc::new(WakeGate::default());
        let waker = Waker::from(Arc::clone(&turn));
        Self { service, pulse: Arc::clone(pulse), heads: heads.clone(), turn, waker }
    }

    fn answer(
        &self,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<Answering<Body>>, Infallible>> + Send + use<S> {
        let under_way = self.pulse.begin(&self.heads);
        let last = request.headers().contains_key(TRANSFER_ENCODING);
        let doubtful = last && !self.heads.is_plain();
        let answer = (!doubtful)
            .then(|| Arc::clone(&self.turn).take(self.waker.clone(), self.service.clone().call(request)));
        async move {
            let mut response = match answer {
                Some(answer) => answer.await?,
                None => two_lengths(),
            };
            // RFC 9112, section 6.3: an intermediary may have read another length in a chunked request, and the bytes behind it
            // would be taken for a request. So nothing does.
            if last {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response.map(|body| Answering { body, _under_way: under_way }))
        }
    }
}

/// The answer to a request that says its length in two ways.
fn two_lengths() -> Response<Body> {
    let mut refused = Response::new(Body::from(
        "the request has both Content-Length and Transfer-Encoding, or was sent before the one ahead of it was answered; send one of them",
    ));
    *refused.status_mut() = StatusCode::BAD_REQUEST;
    refused
}

#[cfg(test)]
mod tests {
    use http_body_util::Empty;
    use hyper::client::conn::http1 as client;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::Notify;

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "the paused time of this test")]
    fn now() -> tokio::time::Instant {
        tokio::time::Instant::now()
    }

    struct Served {
        address: SocketAddr,
        stop: CancellationToken,
        entered: Arc<Notify>,
        leave: Arc<Notify>,
        ended: futures_util::future::BoxFuture<'static, ()>,
    }

    async fn served() -> Served {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, entered, leave) =
            (CancellationToken::new(), Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (enter, go) = (Arc::clone(&entered), Arc::clone(&leave));
        let answers = move |peer: SocketAddr| {
            assert!(peer.ip().is_loopback());
            let (enter, go) = (Arc::clone(&enter), Arc::clone(&go));
            tower::service_fn(move |request: Request<Incoming>| {
                let (enter, go) = (Arc::clone(&enter), Arc::clone(&go));
                async move {
                    if request.uri().path() == "/slow" {
                        enter.notify_one();
                        go.notified().await;
                    }
                    Ok(Response::new(Body::from("done")))
                }
            })
        };
        let ended = Box::pin(serve(listener, answers, None, None, stop.clone(), Duration::from_secs(30)));
        Served { address, stop, entered, leave, ended }
    }

    async fn get(address: SocketAddr, path: &'static str) -> hyper::Result<(StatusCode, bool)> {
        let stream = TcpStream::connect(address).await.unwrap();
        let (mut sender, connection) = client::handshake(TokioIo::new(stream)).await?;
        let request =
            Request::builder().uri(path).header("host", "localhost").body(Empty::<bytes::Bytes>::new());
        let answer = sender.send_request(request.unwrap());
        let (response, _) = tokio::join!(answer, connection);
        let closes = |r: &Response<Incoming>| r.headers().get("connection").is_some_and(|v| v == "close");
        response.map(|response| (response.status(), closes(&response)))
    }

    /// F-20: requests under way when the gateway stops come to their end.
    #[tokio::test]
    async fn what_is_under_way_ends_and_late_connections_are_answered_while_draining() {
        let Served { address, stop, entered, leave, ended } = served().await;
        let client = async {
            let slow = get(address, "/slow");
            let meanwhile = async {
                entered.notified().await;
                stop.cancel();
                let late = get(address, "/fast").await.unwrap();
                leave.notify_one();
                late
            };
            tokio::join!(slow, meanwhile)
        };
        let ((), (slow, late)) = tokio::join!(ended, client);
        assert_eq!(slow.unwrap(), (StatusCode::OK, true));
        assert_eq!(late, (StatusCode::OK, true));
        assert!(TcpStream::connect(address).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_end_within_the_grace_is_cut() {
        let Served { address, stop, entered, ended, .. } = served().await;
        let stopping = async {
            entered.notified().await;
            stop.cancel();
        };
        let ((), slow, ()) = tokio::join!(ended, get(address, "/slow"), stopping);
        assert!(slow.is_err());
    }

    /// Waits for the end of the connection; returns after how long it came.
    async fn cut(stream: &mut TcpStream, since: tokio::time::Instant) -> Duration {
        let mut rest = Vec::new();
        // An end by reset is an end, too.
        let _ = stream.read_to_end(&mut rest).await;
        since.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_is_not_finished_within_ten_seconds_is_cut_however_it_dribbles() {
        let Served { address, ended, .. } = served().await;
        let dribbling = async {
            for beginning in ["", "GET / HT"] {
                let mut stream = TcpStream::connect(address).await.unwrap();
                let begun = now();
                stream.write_all(beginning.as_bytes()).await.unwrap();
                tokio::time::sleep(Duration::from_secs(6)).await;
                stream.write_all(b"x").await.unwrap();
                let took = cut(&mut stream, begun).await;
                assert!((9..=16).contains(&took.as_secs()), "{beginning:?} {took:?}");
            }
        };
        tokio::select! { () = ended => unreachable!(), () = dribbling => {} }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_rests_between_requests_longer_than_a_head_may_take() {
        let Served { address, ended, .. } = served().await;
        let resting = async {
            let mut stream = TcpStream::connect(address).await.unwrap();
            for _ in 0..3 {
                stream.write_all(b"GET /fast HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
                let mut answer = vec![0; 1024];
                let size = stream.read(&mut answer).await.unwrap();
                assert!(answer[..size].ends_with(b"done"), "{:?}", String::from_utf8_lossy(&answer[..size]));
                tokio::time::sleep(Duration::from_secs(70)).await;
            }
            // The second head on a connection has ten seconds, too.
            let begun = now();
            stream.write_all(b"GET /fast HT").await.unwrap();
            let took = cut(&mut stream, begun).await;
            assert!((9..=11).contains(&took.as_secs()), "{took:?}");

            let mut silent = TcpStream::connect(address).await.unwrap();
            silent.write_all(b"GET /fast HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
            let took = cut(&mut silent, now()).await;
            assert!((75..=151).contains(&took.as_secs()), "{took:?}");
        };
        tokio::select! { () = ended => unreachable!(), () = resting => {} }
    }
}
