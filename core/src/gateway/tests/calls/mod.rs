//! How calls go: delivery, limits, retries, and the bytes that arrive.

mod delivery;
mod kept;
mod limits;
mod lossless;
mod replicas;
mod retried;
mod starts;
mod tasks;
mod shared_reads;
