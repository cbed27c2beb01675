mod discoveries;
mod fake;
mod kept;
mod replicas;
mod sessions;
mod voices;
