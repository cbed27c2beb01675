//! The parts of one call: what it comes down to, the message that goes up, the answer that comes down, and what the end
//! of an attempt means.

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
pub(super) mod owners;
pub(super) mod answering;
pub(super) mod attempts;
