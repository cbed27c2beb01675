//! Sends one of several equal reads that are under way at once, and answers them all; see `call/reads.rs`.

use std::sync::Arc;

use tokio::sync::watch;

use super::Core;
use crate::clock::Tick;
use crate::error::{Error, ErrorKind, Result};
use crate::gateway::call::attempts::time_limit;
use crate::gateway::call::context::ForwardRequest;
use crate::gateway::call::reads::{End, Part, ReadKey};
use crate::gateway::forward::track;
use crate::model::Reply;

/// The outcome of waiting for another one's fetch.
enum Joined {
    Answered(Result<Reply>),
    /// The fetch was given up: one of those that waited is to fetch.
    Again,
    /// The answer is for another caller alone.
    Alone,
}

impl Core {
    /// Answers a read with the fetch of an equal one that is under way, or sends it, each within its own time limit.
    pub(crate) async fn read_once(
        self: Arc<Self>,
        key: ReadKey,
        mut request: Box<ForwardRequest>,
    ) -> Result<Reply> {
        let since = self.clock.now();
        request.since = Some(since);
        let deadline = since + time_limit(&request.forward, &request.context);
        loop {
            match self.reads.join(&key, &request.forward.service) {
                Part::Leads(leading) => {
                    request.context.landing = None;
                    // A stream that can be taken up again is one that nobody else can be answered with.
                    request.context.resumes = false;
                    let outcome = Arc::clone(&self).forward(request).await;
                    leading.tell(&outcome);
                    return outcome;
                }
                Part::Joins(end) => match self.wait_for_end(end, &mut request, deadline).await {
                    Joined::Answered(outcome) => return outcome,
                    Joined::Again => {}
                    Joined::Alone => {
                        request.context.landing = None;
                        return Arc::clone(&self).forward(request).await;
                    }
                },
            }
        }
    }

    async fn wait_for_end(
        &self,
        mut end: watch::Receiver<Option<End>>,
        request: &mut ForwardRequest,
        deadline: Tick,
    ) -> Joined {
        if request.context.landing.is_none()
            && let Err(error) = track(request)
        {
            return Joined::Answered(Err(error));
        }
        let ForwardRequest { forward, context, .. } = &*request;
        let told = async { Ok(end.wait_for(Option::is_some).await.ok().and_then(|end| end.clone())) };
        match self.in_time(deadline, context, told).await {
            Ok(Some(end)) => end.reply_to(forward, context).map_or(Joined::Alone, Joined::Answered),
            Ok(None) if deadline <= self.clock.now() => {
                let late = Error::new(
                    ErrorKind::Timeout,
                    "the server did not answer in time; raise `timeout_seconds` if its calls need longer",
                );
                Joined::Answered(Err(context.settle(late.with("service", &forward.service.name))))
            }
            Ok(None) => Joined::Again,
            Err(error) => Joined::Answered(Err(context.settle(error.with("service", &forward.service.name)))),
        }
    }
}
