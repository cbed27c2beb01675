//! The examination of a server, as answers show it.

use serde::Serialize;
use uuid::Uuid;

use super::condition::ProblemView;
use crate::gateway::{Diagnosis, StepOutcome};
use crate::model::ServerState;

/// The examination of a server, step by step.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "server", schema(as = Diagnosis))]
pub(crate) struct DiagnosisView {
    server_id: Uuid,
    name: String,
    /// Whether nothing is wrong.
    ok: bool,
    state: ServerState,
    steps: Vec<StepView>,
    /// Everything that is wrong with it, or with a part of it.
    problems: Vec<ProblemView>,
    /// The last lines that a program which failed to start wrote to its standard error, without secrets.
    last_output: Vec<String>,
}

/// One step of an examination.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "server", schema(as = DiagnosisStep))]
struct StepView {
    /// `status`, `program`, `resolve`, `connect`, `tls`, `start`, `initialize`, the method of a list, `lists`, `items`, `ping`.
    step: String,
    outcome: StepOutcome,
    took_ms: Option<u64>,
    /// What was found, in one sentence.
    found: String,
    /// What a person should do; `null` if nothing.
    advice: Option<String>,
}

impl From<Diagnosis> for DiagnosisView {
    fn from(diagnosis: Diagnosis) -> Self {
        let ok = diagnosis.is_ok();
        let Diagnosis { server, condition, steps } = diagnosis;
        let steps = steps.into_iter().map(|step| StepView {
            step: step.step,
            outcome: step.outcome,
            took_ms: step.took.map(|took| took.as_millis().try_into().unwrap_or(u64::MAX)),
            found: step.found,
            advice: step.advice,
        });
        Self {
            server_id: *server.id.as_uuid(),
            name: server.name.clone(),
            ok,
            state: condition.state,
            steps: steps.collect(),
            problems: condition.problems.into_iter().map(ProblemView::from).collect(),
            last_output: condition.output,
        }
    }
}
