//! nginx as a plain reverse proxy with connections kept alive on both sides.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mcp_registry_gateway_tests::clock::eventually;
use mcp_registry_gateway_tests::proxy::refused;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::net::TcpStream;

/// How many processes serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Processes {
    One,
    Auto,
}

/// A running nginx, ended when it is dropped.
pub(crate) struct Nginx {
    child: Child,
    address: SocketAddr,
    _folder: TempDir,
}

impl Nginx {
    /// Starts nginx in front of `upstream`, in one process or in as many as it takes by itself for this machine.
    pub(crate) async fn start(upstream: SocketAddr, processes: Processes) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let address = refused();
        let file = folder.path().join("nginx.conf");
        fs::write(&file, configuration(folder.path(), address, upstream, processes)?)?;
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

    /// All its processes.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let first = self.child.id();
        let children = fs::read_to_string(format!("/proc/{first}/task/{first}/children")).unwrap_or_default();
        std::iter::once(first).chain(children.split_whitespace().filter_map(|pid| pid.parse().ok())).collect()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
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

fn configuration(
    folder: &Path,
    address: SocketAddr,
    upstream: SocketAddr,
    processes: Processes,
) -> io::Result<String> {
    let processes = match processes {
        Processes::One => "master_process off;",
        // Workers of root would serve as somebody who may not write into the folder.
        Processes::Auto if fs::metadata(folder)?.uid() == 0 => "worker_processes auto; user root;",
        Processes::Auto => "worker_processes auto;",
    };
    let folder = folder.display();
    Ok(format!(
        "daemon off;
{processes}
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
    ))
}
