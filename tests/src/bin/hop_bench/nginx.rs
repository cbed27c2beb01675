//! nginx as a plain reverse proxy with connections kept alive on both sides, in one process.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mcp_registry_gateway_tests::clock::eventually;
use mcp_registry_gateway_tests::proxy::refused;
use tempfile::TempDir;
use tokio::net::TcpStream;

/// A running nginx, killed when it is dropped.
pub(crate) struct Nginx {
    child: Child,
    address: SocketAddr,
    _folder: TempDir,
}

impl Nginx {
    /// Starts nginx in front of `upstream`.
    pub(crate) async fn start(upstream: SocketAddr) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let address = refused();
        let file = folder.path().join("nginx.conf");
        fs::write(&file, configuration(folder.path(), address, upstream))?;
        let errors = fs::File::create(folder.path().join("stderr"))?;
        let mut command = Command::new("nginx");
        command.arg("-c").arg(&file).arg("-p").arg(folder.path());
        let child = command.stderr(errors).stdin(Stdio::null()).spawn().map_err(|error| {
            io::Error::other(format!(
                "nginx cannot be started ({error}); install it, on Debian: apt-get install nginx"
            ))
        })?;
        let nginx = Self { child, address, _folder: folder };
        let open = async || TcpStream::connect(address).await.ok();
        drop(eventually("nginx", Duration::from_secs(10), open).await);
        Ok(nginx)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn configuration(folder: &Path, address: SocketAddr, upstream: SocketAddr) -> String {
    let folder = folder.display();
    format!(
        "daemon off;
master_process off;
pid {folder}/pid;
error_log {folder}/error.log warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 100000000;
    tcp_nodelay on;
    upstream fake {{
        server {upstream};
        keepalive 64;
        keepalive_requests 100000000;
    }}
    server {{
        listen {address};
        location / {{
            proxy_pass http://fake;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
        }}
    }}
}}
"
    )
}
