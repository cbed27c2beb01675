//! Connectors of servers whose endpoint has secrets in it: no error of theirs tells one.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;

use super::{Connector, ExaminedStep, Exchange, Link, Outgoing, QueueStats};
use crate::error::{Error, Result};
use crate::model::Server;
use crate::model::redact;
use crate::rpc::Message;

/// The texts of a server that no error may tell.
#[derive(Clone)]
struct Silence(Arc<[String]>);

impl Silence {
    fn hide(&self, error: Error) -> Error {
        error.map_texts(|text| redact::covered(text, &self.0))
    }
}

impl std::fmt::Debug for Silence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Silence(***)")
    }
}

/// The connector of `server`, with the secrets of its endpoint taken out of its errors.
pub(super) fn connector(server: &Server, made: Result<Arc<dyn Connector>>) -> Result<Arc<dyn Connector>> {
    let silence = Silence(server.configuration.secrets.clone().into());
    match made {
        Ok(inner) => Ok(Arc::new(DiscreetConnector { inner, silence })),
        Err(error) => Err(silence.hide(error)),
    }
}

#[derive(Debug)]
struct DiscreetConnector {
    inner: Arc<dyn Connector>,
    silence: Silence,
}

#[async_trait]
impl Connector for DiscreetConnector {
    async fn connect(&self, own: bool) -> Result<Arc<dyn Link>> {
        match self.inner.connect(own).await {
            Ok(inner) => Ok(Arc::new(DiscreetLink { inner, silence: self.silence.clone() })),
            Err(error) => Err(self.silence.hide(error)),
        }
    }

    async fn check(&self) -> Result<()> {
        self.inner.check().await.map_err(|error| self.silence.hide(error))
    }

    async fn examine(&self) -> Vec<ExaminedStep> {
        let hidden = |(step, found): ExaminedStep| {
            let found = found.map(|text| redact::covered(&text, &self.silence.0));
            (step, found.map_err(|error| self.silence.hide(error)))
        };
        self.inner.examine().await.into_iter().map(hidden).collect()
    }

    fn is_duplex(&self) -> bool {
        self.inner.is_duplex()
    }

    fn remembers_clients(&self) -> bool {
        self.inner.remembers_clients()
    }

    fn starts_process(&self) -> bool {
        self.inner.starts_process()
    }

    fn last_output(&self) -> Vec<String> {
        let lines = self.inner.last_output().into_iter();
        lines.map(|line| redact::covered(&line, &self.silence.0)).collect()
    }

    fn queue(&self) -> Option<QueueStats> {
        self.inner.queue()
    }

    fn for_caller(&self, subject: &Arc<str>) -> Option<Arc<dyn Connector>> {
        let inner = self.inner.for_caller(subject)?;
        Some(Arc::new(Self { inner, silence: self.silence.clone() }))
    }
}

#[derive(Debug)]
struct DiscreetLink {
    inner: Arc<dyn Link>,
    silence: Silence,
}

#[async_trait]
impl Link for DiscreetLink {
    async fn request(&self, outgoing: Outgoing) -> Result<Exchange> {
        match self.inner.request(outgoing).await {
            Ok(Exchange::Many(stream)) => {
                let silence = self.silence.clone();
                let stream = stream.map(move |item| item.map_err(|error| silence.hide(error)));
                Ok(Exchange::Many(stream.boxed()))
            }
            Ok(one) => Ok(one),
            Err(error) => Err(self.silence.hide(error)),
        }
    }

    async fn notify(&self, message: Bytes) -> Result<()> {
        self.inner.notify(message).await.map_err(|error| self.silence.hide(error))
    }

    async fn listen(&self) -> Option<BoxStream<'static, Message>> {
        self.inner.listen().await
    }

    fn set_version(&self, version: &str) {
        self.inner.set_version(version);
    }

    fn cancels_when_dropped(&self) -> bool {
        self.inner.cancels_when_dropped()
    }

    fn numbers(&self) -> bool {
        self.inner.numbers()
    }

    fn is_open(&self) -> bool {
        self.inner.is_open()
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}
