mod discoveries;
mod fake;
mod guarded;
mod replicas;
mod sessions;
mod shown;
mod voices;
