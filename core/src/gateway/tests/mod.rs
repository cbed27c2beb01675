mod delivery;
mod discoveries;
mod fake;
mod lossless;
mod guarded;
mod replicas;
mod sessions;
mod voices;
