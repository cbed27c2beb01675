//! A TCP proxy that breaks what passes through it, exactly where it is told to.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use mcp_registry_gateway::tasks::Tasks;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What happens to connections as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Bytes pass.
    Pass,
    /// Connections are accepted, and what comes is neither passed on nor answered.
    Blackhole,
    /// Connections are reset at once, the open ones too.
    Reset,
    /// Each piece passes after a while.
    Delay(Duration),
}

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

/// A cut that waits for its bytes: after `after` more of them that way, the connection is reset.
#[derive(Clone, Copy, Debug)]
struct Cut {
    way: Way,
    after: usize,
}

/// The proxy; it ends, connections and all, when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    upstream: SocketAddr,
    mode: watch::Sender<Mode>,
    cut: Mutex<Option<Cut>>,
    fired: AtomicUsize,
    accepted: AtomicUsize,
    tasks: Tasks,
}

impl Proxy {
    /// A proxy in front of `upstream`, on a free port.
    pub async fn start(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        let inner = Arc::new(Inner {
            upstream,
            mode: watch::channel(Mode::Pass).0,
            cut: Mutex::default(),
            fired: AtomicUsize::new(0),
            accepted: AtomicUsize::new(0),
            tasks: Tasks::default(),
        });
        inner.tasks.spawn(accept(listener, Arc::clone(&inner)));
        Self { address, inner }
    }

    /// Where clients connect.
    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// Changes what happens to connections.
    pub fn set(&self, mode: Mode) {
        self.inner.mode.send_replace(mode);
    }

    /// Resets the connection over which the byte after the next `after` bytes in direction `way` would go, once.
    pub fn cut(&self, way: Way, after: usize) {
        *self.inner.cut() = Some(Cut { way, after });
    }

    /// Takes back a cut that has not happened; gives whether it had.
    pub fn disarm(&self) -> bool {
        self.inner.cut().take().is_none()
    }

    /// How many cuts have happened.
    pub fn fired(&self) -> usize {
        self.inner.fired.load(Ordering::SeqCst)
    }

    /// How many connections have been accepted.
    pub fn accepted(&self) -> usize {
        self.inner.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.inner.tasks.token().cancel();
    }
}

impl Inner {
    fn cut(&self) -> std::sync::MutexGuard<'_, Option<Cut>> {
        self.cut.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many of `size` bytes may pass; fewer means that the connection is cut after them.
    fn allowance(&self, way: Way, size: usize) -> usize {
        let mut armed = self.cut();
        match &mut *armed {
            Some(cut) if cut.way == way && cut.after < size => {
                let after = cut.after;
                *armed = None;
                self.fired.fetch_add(1, Ordering::SeqCst);
                after
            }
            Some(cut) if cut.way == way => {
                cut.after -= size;
                size
            }
            _ => size,
        }
    }
}

async fn accept(listener: TcpListener, inner: Arc<Inner>) {
    loop {
        if let Ok((client, _)) = listener.accept().await {
            inner.accepted.fetch_add(1, Ordering::SeqCst);
            inner.tasks.spawn(connection(client, Arc::clone(&inner)));
        }
    }
}

async fn connection(client: TcpStream, inner: Arc<Inner>) {
    let mut mode = inner.mode.subscribe();
    // With no lingering, closing sends RST: what this proxy is for. Orderly ends shut their half down before.
    if client.set_zero_linger().and_then(|()| client.set_nodelay(true)).is_err() {
        return;
    }
    let broken = async {
        drop(mode.wait_for(|mode| *mode == Mode::Reset).await);
    };
    let carried = async {
        let held = *inner.mode.borrow() == Mode::Blackhole;
        if held {
            drop(inner.mode.subscribe().wait_for(|mode| *mode != Mode::Blackhole).await);
        }
        let Ok(server) = TcpStream::connect(inner.upstream).await else { return };
        if server.set_zero_linger().and_then(|()| server.set_nodelay(true)).is_err() {
            return;
        }
        let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
        let up = pump(from_client, to_server, Way::Up, &inner);
        let down = pump(from_server, to_client, Way::Down, &inner);
        tokio::pin!(up, down);
        tokio::select! {
            whole = &mut up => if whole { down.await; },
            whole = &mut down => if whole { up.await; },
        }
    };
    tokio::select! {
        () = broken => {}
        () = carried => {}
    }
}

/// Carries bytes one way; true if they ended by themselves, false if they were cut.
async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, way: Way, inner: &Inner) -> bool {
    let mut mode = inner.mode.subscribe();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let Ok(size) = from.read(&mut buffer).await else { return false };
        if size == 0 {
            return to.shutdown().await.is_ok();
        }
        let now = *mode.borrow_and_update();
        match now {
            Mode::Delay(pause) => tokio::time::sleep(pause).await,
            Mode::Blackhole => drop(mode.wait_for(|mode| *mode != Mode::Blackhole).await),
            Mode::Pass | Mode::Reset => {}
        }
        let allowed = inner.allowance(way, size);
        if to.write_all(&buffer[..allowed]).await.is_err() || allowed < size {
            return false;
        }
    }
}

/// An address of this machine where nothing listens.
pub fn refused() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("a bound port")
}
