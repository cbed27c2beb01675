//! A plain HTTP/1.1 client that keeps connections and shows everything: status, headers, events as they come.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use mcp_registry_gateway::tasks::Tasks;
use serde_json::Value;
use tokio::net::TcpStream;

type Sender = SendRequest<Full<Bytes>>;

/// A client of one address. Clones share its idle connections.
#[derive(Clone, Debug)]
pub struct Http {
    address: SocketAddr,
    pool: Arc<Pool>,
    key: Option<String>,
}

#[derive(Debug, Default)]
struct Pool {
    idle: Mutex<Vec<Sender>>,
    tasks: Tasks,
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.tasks.token().cancel();
    }
}

impl Http {
    /// A client that connects when it first needs to.
    pub fn new(address: SocketAddr) -> Self {
        Self { address, pool: Arc::default(), key: None }
    }

    /// Another client of the same address, which shows this key with every request.
    #[must_use]
    pub fn showing(&self, key: &str) -> Self {
        Self { key: Some(key.to_owned()), ..Self::new(self.address) }
    }

    /// The address it talks to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends one request; `Host` is the address unless `headers` name another.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> io::Result<Reply> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(key) = &self.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            request = request.header("host", self.address.to_string());
        }
        let request = request.body(Full::new(body)).map_err(io::Error::other)?;
        let mut sender = self.sender().await?;
        let response = sender.send_request(request).await.map_err(io::Error::other)?;
        let (head, body) = response.into_parts();
        let home = Some((Arc::clone(&self.pool), sender));
        Ok(Reply {
            status: head.status.as_u16(),
            headers: head.headers,
            body,
            read: Vec::new(),
            home,
            last_id: None,
        })
    }

    /// A GET whose answer is read whole as JSON.
    pub async fn get(&self, path: &str) -> io::Result<(u16, Value)> {
        self.json(Method::GET, path, None).await
    }

    /// A request with an optional JSON body, whose answer is read whole as JSON; null where it is none.
    pub async fn json(&self, method: Method, path: &str, body: Option<&Value>) -> io::Result<(u16, Value)> {
        let bytes = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let headers: &[_] = if body.is_some() { &[("content-type", "application/json")] } else { &[] };
        let reply = self.send(method, path, headers, bytes).await?;
        let status = reply.status;
        Ok((status, serde_json::from_slice(&reply.bytes().await?).unwrap_or(Value::Null)))
    }

    async fn sender(&self) -> io::Result<Sender> {
        loop {
            let idle = self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(mut sender) = idle else { break };
            if !sender.is_closed() && sender.ready().await.is_ok() {
                return Ok(sender);
            }
        }
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        self.pool.tasks.spawn(async move {
            // A connection that breaks shows in the request that used it.
            let _ = connection.await;
        });
        Ok(sender)
    }
}

/// An answer whose body is still to be read. Dropping it unread closes the connection.
#[derive(Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    body: Incoming,
    read: Vec<u8>,
    home: Option<(Arc<Pool>, Sender)>,
    last_id: Option<String>,
}

impl Reply {
    /// A header as text, empty where it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Whether the body is an event stream.
    pub fn is_stream(&self) -> bool {
        self.header("content-type").starts_with("text/event-stream")
    }

    /// The rest of the body.
    pub async fn bytes(mut self) -> io::Result<Bytes> {
        while self.more().await? {}
        Ok(Bytes::from(std::mem::take(&mut self.read)))
    }

    /// The next message: of an event stream the next event with data, else the whole body. `None` at the end.
    pub async fn next(&mut self) -> io::Result<Option<Value>> {
        if !self.is_stream() {
            while self.more().await? {}
            let body = std::mem::take(&mut self.read);
            return Ok(serde_json::from_slice(&body).ok());
        }
        match self.next_data().await? {
            Some(data) => serde_json::from_str(&data).map(Some).map_err(io::Error::other),
            None => Ok(None),
        }
    }

    /// The data of the next event that has some. `None` at the end.
    pub async fn next_data(&mut self) -> io::Result<Option<String>> {
        loop {
            if let Some(end) = self.read.windows(2).position(|pair| pair == b"\n\n") {
                let event: Vec<u8> = self.read.drain(..end + 2).collect();
                let event = String::from_utf8_lossy(&event);
                self.last_id = id_of(&event).or(self.last_id.take());
                let data = data_of(&event);
                if !data.is_empty() {
                    return Ok(Some(data));
                }
            } else if !self.more().await? {
                return Ok(None);
            }
        }
    }

    /// The id of the last event that was read and had one.
    pub fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    /// Reads one more piece; false at the end, where the connection goes back to the pool.
    async fn more(&mut self) -> io::Result<bool> {
        while let Some(frame) = self.body.frame().await {
            if let Ok(data) = frame.map_err(io::Error::other)?.into_data() {
                self.read.extend(data.iter().filter(|byte| **byte != b'\r'));
                return Ok(true);
            }
        }
        if let Some((pool, sender)) = self.home.take() {
            pool.idle.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        }
        Ok(false)
    }
}

fn id_of(event: &str) -> Option<String> {
    event.lines().find_map(|line| line.strip_prefix("id:")).map(|id| id.trim_start().to_owned())
}

fn data_of(event: &str) -> String {
    let lines = event.lines().filter_map(|line| line.strip_prefix("data:"));
    lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::data_of;

    #[test]
    fn data_lines_are_joined_and_other_fields_left_out() {
        assert_eq!(data_of("id: 7\nevent: message\ndata: {\ndata: }\n\n"), "{\n}");
        assert_eq!(data_of(": keep-alive\n\n"), "");
    }
}
