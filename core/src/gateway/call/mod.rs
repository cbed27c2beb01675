//! The parts of one call: how it is handled, the message to the server, the answer to the client, and the judgement of an
//! attempt's end.

pub(super) mod limits;
pub(super) mod modern;
pub(super) mod audit;
pub(super) mod ongoing;
pub(super) mod verdict;
pub(super) mod context;
pub(super) mod proxy;
pub(super) mod builtin;
pub(super) mod relay;
pub(super) mod sink;
pub(super) mod retries;
pub(super) mod affinity;
pub(super) mod lists;
pub(super) mod given;
pub(super) mod owners;
pub(super) mod answering;
pub(super) mod attempts;
pub(super) mod reads;
