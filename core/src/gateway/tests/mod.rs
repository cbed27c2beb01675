mod discoveries;
mod fake;
mod kept;
mod guarded;
mod replicas;
mod sessions;
mod shown;
mod voices;
