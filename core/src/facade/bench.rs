//! The baselines of the bindings' benches: the same call made in Rust, and a server that costs the same for every caller.

use bytes::Bytes;

use super::{Facade, Hosted};
use crate::error::Result;
use crate::rpc::answer::result_response;
use crate::rpc::{Message, Method};

impl Facade {
    /// Registers a server of this process, in Rust: each call of its tool `echo` is answered with one short text. It is there as
    /// long as the gateway is open.
    pub fn house_echo(&self, name: &str) -> Result<()> {
        let registration = serde_json::json!({ "name": name, "health_check": { "enabled": false } });
        let housed = self.fly(self.register_in_process(registration.to_string().into())).wait()?;
        let facade = self.clone();
        let serving = async move {
            while let Some(link) = housed.receive().await? {
                let _link = facade.run(echo(link), |_| {});
            }
            Ok(())
        };
        let _serving = self.run(serving, |_| {});
        let document = serde_json::json!({ "server": name }).to_string();
        self.fly(self.perform("discover", document.into())).wait().map(drop)
    }

    /// Performs `verb` so many times, one after the other, without leaving the gateway's threads; blocks until it is done.
    pub fn perform_often(&self, verb: &str, document: &Bytes, times: u32) -> Result<()> {
        let (facade, verb, document) = (self.clone(), verb.to_owned(), document.clone());
        let work = async move {
            for _ in 0..times {
                facade.perform(&verb, document.clone()).await?;
            }
            Ok(())
        };
        self.fly(work).wait()
    }
}

async fn echo(link: Hosted) -> Result<()> {
    while let Some(bytes) = link.receive().await? {
        let message = Message::parse(bytes)?;
        let Some(id) = message.id() else { continue };
        let result = match message.method() {
            Some(Method::Initialize) => {
                r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"echo","version":"1"}}"#
            }
            Some(Method::ToolsList) => r#"{"tools":[{"name":"echo","inputSchema":{"type":"object"}}]}"#,
            Some(Method::ToolsCall) => r#"{"content":[{"type":"text","text":"a"}]}"#,
            _ => "{}",
        };
        link.send(result_response(id, result)).await?;
    }
    Ok(())
}
