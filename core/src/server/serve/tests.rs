//! The listener over real connections.

use std::sync::Arc;

use http::StatusCode;
use http_body_util::Empty;
use hyper::client::conn::http1 as client;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;

use super::*;

/// More than the system takes ahead for a client that does not read.
const LARGE: usize = 24 * 1024 * 1024;

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
    let (stop, entered, leave) = (CancellationToken::new(), Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (enter, go) = (Arc::clone(&entered), Arc::clone(&leave));
    let answers = move |accepted: &Accepted| {
        assert!(accepted.peer.ip().is_loopback());
        let (enter, go) = (Arc::clone(&enter), Arc::clone(&go));
        tower::service_fn(move |request: Request<Incoming>| {
            let (enter, go) = (Arc::clone(&enter), Arc::clone(&go));
            async move {
                match request.uri().path() {
                    "/slow" => {
                        enter.notify_one();
                        go.notified().await;
                    }
                    "/large" => return Ok(Response::new(Body::from(vec![b'x'; LARGE]))),
                    _ => {}
                }
                Ok(Response::new(Body::from("done")))
            }
        })
    };
    let ended = Box::pin(serve(listener, answers, Serving::default(), stop.clone(), Duration::from_secs(30)));
    Served { address, stop, entered, leave, ended }
}

async fn get(address: SocketAddr, path: &'static str) -> hyper::Result<(StatusCode, bool)> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = client::handshake(TokioIo::new(stream)).await?;
    let request = Request::builder().uri(path).header("host", "localhost").body(Empty::<bytes::Bytes>::new());
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

/// Asks for a large answer.
async fn ask_for_much(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /large HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    stream
}

/// The rest of the answer; less than all of it where the connection was cut.
async fn rest(stream: &mut TcpStream) -> usize {
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    rest.len()
}

/// a client that takes nothing of its answer is cut after 30 s.
#[tokio::test(start_paused = true)]
async fn an_answer_that_nobody_takes_is_cut() {
    let Served { address, ended, .. } = served().await;
    let reading = async {
        let mut dead = ask_for_much(address).await;
        tokio::time::sleep(Duration::from_secs(45)).await;
        let read = rest(&mut dead).await;
        assert!(read < LARGE, "{read}");
    };
    tokio::select! { () = ended => unreachable!(), () = reading => {} }
}

/// the stop waits two seconds for a client that takes nothing, and not the whole grace.
#[tokio::test(start_paused = true)]
async fn the_stop_does_not_wait_for_an_answer_that_nobody_takes() {
    let Served { address, stop, ended, .. } = served().await;
    let asking = async {
        let dead = ask_for_much(address).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        stop.cancel();
        (dead, now())
    };
    let ((), (_dead, begun)) = tokio::join!(ended, asking);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}
