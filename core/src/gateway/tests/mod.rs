mod discoveries;
mod fake;
mod replicas;
mod sessions;
mod voices;
