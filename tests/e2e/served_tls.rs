//! The gateway behind TLS of its own.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use mcp_registry_gateway_tests::clock::{Stopwatch, eventually};
use mcp_registry_gateway_tests::process::{Gateway, Options, binary};
use mcp_registry_gateway_tests::tls::Authority;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const PATIENCE: Duration = Duration::from_secs(20);

async fn serving(folder: &Path) -> Gateway {
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    let config = folder.join("mcp-gateway.toml");
    let text = format!(
        "[server.tls]\ncert = {:?}\nkey = {:?}\n",
        cert.display().to_string(),
        key.display().to_string()
    );
    std::fs::write(&config, text).expect("a file");
    let args = vec!["--config".to_owned(), config.display().to_string()];
    Gateway::start_with(Options { data: Some(folder.join("data")), args, ..Options::default() }).await
}

/// Runs the program on the data of the gateway in `folder`.
fn command(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.args(args).arg("--data-dir").arg(folder.join("data"));
    command.arg("--config").arg(folder.join("mcp-gateway.toml")).output().expect("mcp-gateway runs")
}

/// What `/health` answers to a client that believes `authority`; an error of the handshake as text.
async fn health(gateway: &Gateway, authority: &Authority) -> Result<String, String> {
    let stream = TcpStream::connect(gateway.address()).await.map_err(|error| error.to_string())?;
    let name = "127.0.0.1".try_into().expect("a name");
    let connected = authority.connector().connect(name, stream).await;
    let mut stream = connected.map_err(|error| error.to_string())?;
    let request = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.map_err(|error| error.to_string())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.map_err(|error| error.to_string())?;
    Ok(answer)
}

#[tokio::test]
async fn the_gateway_is_reached_over_tls_and_a_renewed_certificate_is_taken_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let (first, second) = (Authority::new(), Authority::new());
    first.issue("127.0.0.1", folder.path());
    let gateway = serving(folder.path()).await;
    assert!(gateway.greeting().contains("https://127.0.0.1:"), "{}", gateway.greeting());
    let answer = health(&gateway, &first).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("strict-transport-security"), "{answer}");
    assert!(health(&gateway, &second).await.is_err(), "whom one does not trust, one does not believe");

    // A key without its certificate is not taken up.
    std::fs::write(folder.path().join("key.pem"), "not PEM").expect("a file");
    eventually("the complaint", PATIENCE, async || gateway.log().contains("server.tls.key").then_some(()))
        .await;
    assert!(health(&gateway, &first).await.is_ok(), "what was read before stays");

    second.issue("127.0.0.1", folder.path());
    eventually("the new certificate", PATIENCE, async || health(&gateway, &second).await.ok()).await;
}

/// Commands speak to the gateway that they find beside the database over TLS, and believe its certificate whatever it names and
/// whoever signed it; to one that is named by its URL only if an authority vouches for it.
#[tokio::test]
async fn commands_speak_tls() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new();
    authority.issue("gateway.example", folder.path());
    let gateway = serving(folder.path()).await;
    let listed = command(folder.path(), &["list", "--json"]);
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));

    let url = format!("https://{}", gateway.address());
    let trusting = |authority: &Authority| {
        let file = authority.file(folder.path()).display().to_string();
        command(folder.path(), &["list", "--json", "--url", &url, "--ca-file", &file])
    };
    let refused = trusting(&authority);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("no TLS with"), "it is another's certificate");
    authority.issue("127.0.0.1", folder.path());
    eventually("the new certificate", PATIENCE, async || health(&gateway, &authority).await.ok()).await;
    let listed = trusting(&authority);
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    assert!(!trusting(&Authority::new()).status.success(), "whom one does not trust, one does not believe");
}

#[tokio::test]
async fn plain_http_to_a_tls_port_hears_what_is_wrong() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new();
    authority.issue("127.0.0.1", folder.path());
    let gateway = serving(folder.path()).await;
    let mut stream = TcpStream::connect(gateway.address()).await.expect("a connection");
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("https://"), "{answer}");
}

/// L-09: who connects to a TLS port and dribbles its handshake, or the head behind it, is cut after 10 s as everybody is.
#[tokio::test]
async fn a_handshake_that_is_dribbled_is_cut() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new();
    authority.issue("127.0.0.1", folder.path());
    let gateway = serving(folder.path()).await;
    let watch = Stopwatch::start();
    let mut silent = TcpStream::connect(gateway.address()).await.expect("a connection");
    let mut begun = TcpStream::connect(gateway.address()).await.expect("a connection");
    begun.write_all(&[22, 3, 1]).await.expect("written");
    let stream = TcpStream::connect(gateway.address()).await.expect("a connection");
    let name = "127.0.0.1".try_into().expect("a name");
    let mut inside = authority.connector().connect(name, stream).await.expect("a handshake");
    inside.write_all(b"GET /health HT").await.expect("written");
    let mut rest = Vec::new();
    let cut = async {
        // An end by reset is an end, too.
        let _ = silent.read_to_end(&mut rest).await;
        let _ = begun.read_to_end(&mut rest).await;
        let _ = inside.read_to_end(&mut rest).await;
    };
    tokio::time::timeout(PATIENCE, cut).await.expect("all are cut");
    assert!(watch.elapsed() >= Duration::from_secs(9), "{:?}", watch.elapsed());
    assert!(health(&gateway, &authority).await.is_ok());
}
