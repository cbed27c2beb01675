//! Serving a listener, until it is told to stop, without cutting requests under way.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use axum::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tower::Service;

use crate::server::connection::exchange::{Caller, begin, refuse};
use crate::server::connection::limits::{ConnectionSlot, Connections};
use crate::server::connection::timeouts::ActivityMonitor;
use crate::server::connection::tls::Certificate;
use crate::tasks::{Tasks, Workers};

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

/// A connection that was taken.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// Its other end.
    pub peer: SocketAddr,
    pub(super) slot: ConnectionSlot,
}

/// How a listener is served.
#[derive(Clone, Debug, Default)]
pub struct Serving<'a> {
    /// With it, connections are TLS, and others are told that they should be.
    pub tls: Option<Certificate>,
    /// With them, each connection stays on one of their threads; they must live until the gateway behind the service has shut
    /// down, since its calls run there too. Without, connections run where the listener does.
    pub workers: Option<&'a Workers>,
    /// How many connections are open at the same time, [`Service::connections`](super::Service::connections).
    pub connections: Connections,
}

/// Serves `listener` with the service that `make` makes of a connection, such as
/// [`Service::for_connection`](super::Service::for_connection), until `stop` is cancelled and requests under way have ended,
/// `grace` later at the latest.
///
/// While it drains, new connections are still taken, for one request each: the gateway answers those it does not want
/// any more, which a client can send elsewhere, where a refused connection would be a failure to it.
pub async fn serve<F, S>(
    listener: TcpListener,
    make: F,
    serving: Serving<'_>,
    stop: CancellationToken,
    grace: Duration,
) where
    F: Fn(&Accepted) -> S + Send + Sync,
    S: Answers,
{
    let before = Tasks::default();
    let accepting = Accepting { listener: &listener, make: &make, serving: &serving, stop: &stop };
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
    serving: &'a Serving<'a>,
    stop: &'a CancellationToken,
}

impl<F: Fn(&Accepted) -> S, S: Answers> Accepting<'_, F> {
    /// Takes connections until `end`; each is one of `tasks`.
    async fn until(&self, end: impl Future<Output = ()>, tasks: &Tasks, keep_alive: bool) {
        let mut end = pin!(end);
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut end => return,
                accepted = self.listener.accept() => accepted,
            };
            // A socket belongs to the poll of the runtime that made it, so it is moved before it is used.
            match accepted.and_then(|(stream, peer)| Ok((stream.into_std()?, peer))) {
                Ok((stream, peer)) => self.take(stream, peer, tasks, keep_alive),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    self.serving.connections.shed();
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn take(&self, stream: std::net::TcpStream, peer: SocketAddr, tasks: &Tasks, keep_alive: bool) {
        let activity = ActivityMonitor::new();
        let Some(slot) = self.serving.connections.enter(peer.ip(), &activity) else {
            tracing::debug!(%peer, "a connection was refused: there are as many as there may be");
            return refuse(stream, self.serving.tls.is_some());
        };
        let accepted = Accepted { peer, slot };
        let service = (self.make)(&accepted);
        let (stop, slot, tls) = (self.stop.child_token(), accepted.slot, self.serving.tls.clone());
        let work = async move {
            if let Ok(stream) = TcpStream::from_std(stream) {
                begin(stream, tls, Caller { peer, service, stop, keep_alive, activity, slot }).await;
            }
        };
        match self.serving.workers {
            Some(workers) => tasks.spawn_on(workers.next(), work),
            None => tasks.spawn(work),
        }
    }
}

#[cfg(test)]
mod tests;
