//! Serving a listener, until it is told to stop, without cutting what is under way.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::{Peer, Service};
use crate::tasks::Tasks;

/// How long a client may take to send a request's head, and how long a connection may idle between requests.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// Connections that are open at the same time at most; more wait in the listener's backlog.
const MAX_CONNECTIONS: usize = 10_000;

/// Wait after the system refused a connection, mostly for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves `listener` until `stop` is cancelled and what was under way has ended, `grace` later at the latest.
///
/// While it drains, new connections are still taken, for one request each: the gateway answers those it does not want
/// any more, which a client can send elsewhere, where a refused connection would be a failure to it.
pub async fn serve(listener: TcpListener, service: Service, stop: CancellationToken, grace: Duration) {
    let before = Tasks::default();
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    accept_until(&listener, &service, &before, &room, &stop, true, stop.cancelled()).await;

    let late = Tasks::default();
    let drained = async {
        // A connection ends with the request that it is serving, or at once if it serves none.
        let _ = tokio::time::timeout(grace, before.finish()).await;
    };
    accept_until(&listener, &service, &late, &room, &stop, false, drained).await;
    drop(listener);
    tokio::join!(before.stop(), late.stop());
}

async fn accept_until(
    listener: &TcpListener,
    service: &Service,
    tasks: &Tasks,
    room: &Arc<Semaphore>,
    stop: &CancellationToken,
    keep_alive: bool,
    end: impl Future<Output = ()>,
) {
    let mut end = pin!(end);
    loop {
        let accepted = async {
            let permit = room.clone().acquire_owned().await;
            (permit, listener.accept().await)
        };
        tokio::select! {
            biased;
            () = &mut end => return,
            (permit, accepted) = accepted => match accepted {
                Ok((stream, peer)) => {
                    let work = connection(stream, peer, service.clone(), stop.clone(), keep_alive);
                    tasks.spawn(async move {
                        work.await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    service: Service,
    stop: CancellationToken,
    keep_alive: bool,
) {
    // Answers are small and written whole: waiting to fill a segment only delays them.
    let _ = stream.set_nodelay(true);
    let answer = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        service.clone().oneshot(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .keep_alive(keep_alive)
        .serve_connection(TokioIo::new(stream), answer);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled(), if keep_alive => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "connection ended");
    }
}
