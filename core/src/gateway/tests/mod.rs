mod delivery;
mod discoveries;
mod fake;
mod lossless;
mod replicas;
mod sessions;
mod voices;
