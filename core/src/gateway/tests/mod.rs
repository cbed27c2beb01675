mod apart;
mod discoveries;
mod fake;
mod kept;
mod guarded;
mod replicas;
mod sessions;
mod voices;
