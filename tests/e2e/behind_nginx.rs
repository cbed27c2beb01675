//! Behind a real nginx that serves the gateway below a prefix, with authentication. Needs nginx (on Debian: `apt-get install nginx`).

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use mcp_registry_gateway_tests::clock::eventually;
use mcp_registry_gateway_tests::fake::Fake;
use mcp_registry_gateway_tests::http::{Http, Reply};
use mcp_registry_gateway_tests::mcp::Client;
use mcp_registry_gateway_tests::process::Gateway;
use mcp_registry_gateway_tests::proxy::refused;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::crowds::Guarded;

/// A running nginx, ended when it is dropped.
struct Nginx {
    child: Child,
    address: SocketAddr,
    _folder: TempDir,
}

impl Nginx {
    /// `None`, with a line that says so, if nginx is not installed.
    async fn before(gateway: &Gateway, headers: &str) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let address = refused();
        let user = if fs::metadata(folder.path()).expect("a folder").uid() == 0 { "user root;" } else { "" };
        let (path, upstream) = (folder.path().display(), gateway.address());
        let configuration = format!(
            "daemon off;\nworker_processes 1;\n{user}\npid {path}/pid;\nerror_log {path}/error.log warn;\n\
             events {{ worker_connections 256; }}\nhttp {{\n access_log off;\n client_body_temp_path {path}/body;\n \
             proxy_temp_path {path}/proxy;\n fastcgi_temp_path {path}/fastcgi;\n uwsgi_temp_path {path}/uwsgi;\n \
             scgi_temp_path {path}/scgi;\n server {{\n listen {address};\n proxy_http_version 1.1;\n \
             proxy_set_header Connection \"\";\n proxy_buffering off;\n {headers}\n \
             location /gw/ {{ proxy_pass http://{upstream}/; }}\n \
             location /.well-known/oauth-protected-resource/gw {{ proxy_pass http://{upstream}; }}\n }}\n}}\n"
        );
        let file = folder.path().join("nginx.conf");
        fs::write(&file, configuration).expect("a file");
        let errors = fs::File::create(folder.path().join("stderr")).expect("a file");
        let mut command = Command::new("nginx");
        command.arg("-c").arg(&file).arg("-p").arg(folder.path());
        let Ok(child) = command.stdin(Stdio::null()).stderr(errors).spawn() else {
            eprintln!(
                "SKIPPED: nginx is not installed, so that nothing was tried behind it; on Debian: apt-get install nginx"
            );
            return None;
        };
        let nginx = Self { child, address, _folder: folder };
        drop(
            eventually("nginx", Duration::from_secs(10), async || TcpStream::connect(address).await.ok())
                .await,
        );
        Some(nginx)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Its workers live on where it is killed.
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if pid.is_none_or(|pid| kill_process(pid, Signal::TERM).is_err()) {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// The headers that tell the gateway what the client wrote.
const TOLD: &str = "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto https; \
    proxy_set_header X-Forwarded-Host gw.example; proxy_set_header X-Forwarded-Prefix /gw;";

async fn get(http: &Http, path: &str) -> (u16, String, Value) {
    let reply: Reply = http
        .send(Method::GET, path, &[("accept", "application/json")], Bytes::new())
        .await
        .expect("an answer");
    let (status, challenge) = (reply.status, reply.header("www-authenticate").to_owned());
    (status, challenge, serde_json::from_slice(&reply.bytes().await.expect("a body")).unwrap_or_default())
}

/// The metadata that the challenge of `/gw/mcp` points to, and what it says of itself.
async fn metadata(http: &Http, base: &str) {
    let (status, challenge, _) = get(http, "/gw/mcp").await;
    let url = challenge.split("resource_metadata=\"").nth(1).and_then(|rest| rest.split('"').next());
    let path = url.and_then(|url| url.strip_prefix("https://gw.example"));
    assert_eq!((status, path.is_some()), (401, true), "{challenge}");
    // The one that the challenge names, and the one that RFC 9728 makes of the resource.
    for path in [path.expect("a path"), "/.well-known/oauth-protected-resource/gw/mcp"] {
        let (status, _, document) = get(http, path).await;
        assert_eq!(
            (status, &document["resource"]),
            (200, &json!(format!("{base}/mcp"))),
            "{path}: {document}"
        );
    }
}

/// A session over the proxy, and a call, with a slash at the end of the path and without it.
async fn calls(http: &Http) {
    for path in ["/gw/mcp/one", "/gw/mcp/one/", "/gw/mcp/"] {
        let client = Client::connect_with(http, path, json!({})).await.expect("a session");
        let tool = if path == "/gw/mcp/" { "one__echo" } else { "echo" };
        let answer = client.call(tool, json!({ "text": "hello" })).await.expect("an answer");
        assert_eq!(answer.text(), "hello", "{path}");
    }
    let (status, listed) = http.get("/gw/api/v1/servers/").await.expect("an answer");
    assert_eq!((status, listed["total"].as_u64()), (200, Some(1)), "{listed}");
}

#[tokio::test]
async fn a_gateway_below_a_prefix_of_nginx_works_with_its_own_url_configured() {
    let house = Guarded::with("url = 'https://gw.example/gw'", "").await;
    let fake = Fake::start("one").await;
    house.adopt(&fake).await;
    let Some(nginx) = Nginx::before(&house.gateway, "").await else { return };
    metadata(&Http::new(nginx.address), "https://gw.example/gw").await;
    let key = house.key("client").await;
    calls(&Http::new(nginx.address).showing(&key)).await;
}

#[tokio::test]
async fn a_gateway_below_a_prefix_of_nginx_works_by_what_a_trusted_proxy_says() {
    let server = "[server]\ntrusted_proxies = ['127.0.0.1']\nallowed_hosts = ['gw.example']\n";
    let house = Guarded::with("", server).await;
    let fake = Fake::start("one").await;
    house.adopt(&fake).await;
    let Some(nginx) = Nginx::before(&house.gateway, TOLD).await else { return };
    metadata(&Http::new(nginx.address), "https://gw.example/gw").await;
    let key = house.key("client").await;
    calls(&Http::new(nginx.address).showing(&key)).await;
}

#[tokio::test]
async fn nobody_is_of_this_machine_behind_a_trusted_proxy_whatever_it_says() {
    let options = mcp_registry_gateway_tests::process::Options {
        env: vec![("MREG_SERVER__TRUSTED_PROXIES", "127.0.0.1".into())],
        ..Default::default()
    };
    let gateway = Gateway::start_with(options).await;
    let forms: [&[(&str, &str)]; 4] = [
        &[],
        &[("x-forwarded-for", "127.0.0.1")],
        &[("x-forwarded-for", "::1")],
        &[("x-forwarded-host", "localhost"), ("x-forwarded-for", "203.0.113.1")],
    ];
    for headers in forms {
        let reply = gateway.http().send(Method::GET, "/api/v1/servers", headers, Bytes::new()).await;
        assert_eq!(reply.expect("an answer").status, 401, "{headers:?}");
    }
}
