//! Requests that a legacy server sends outside of any call, such as for the roots right after its handshake. A modern client
//! can only get them in the answer to a request: so the next request that may be answered so is, before its server sees it.

use std::sync::Arc;

use super::{AGAIN, bond_of, may_ask, translate};
use crate::error::Result;
use crate::gateway::Core;
use crate::gateway::call::context::CallContext;
use crate::gateway::call::modern::Modern;
use crate::rpc::Message;
use crate::rpc::answer::result_response;
use crate::transport::Session;

impl Core {
    /// Sends the server the answers that a retry brings, and answers any other request with the server's pending requests: the
    /// response that does so, or `None` if the request can be sent.
    pub(crate) async fn ask_first(
        &self,
        session: &Arc<Session>,
        modern: &Modern,
        context: &CallContext,
        message: &Message,
    ) -> Result<Option<Message>> {
        let ears = &self.modern.ears;
        if !message.method().is_some_and(may_ask) || !ears.has_questions(session) {
            return Ok(None);
        }
        if modern.again {
            for (key, result) in translate::responses(modern.responses.as_deref())? {
                if let Some(raw_id) = ears.answered(session, &key) {
                    session.notify(result_response(&raw_id, &result)).await?;
                }
            }
            return Ok(None);
        }
        let questions = ears.questions(session);
        let state = self.seal(AGAIN, &bond_of(context, message))?;
        let questions = questions.iter().map(|(key, question)| (key.as_str(), question));
        let result = translate::input_required(questions, &state);
        Message::parse(result_response(message.id().unwrap_or("null"), &result)).map(Some)
    }
}
