mod admitted;
mod apart;
mod calls;
mod cluster;
mod fake;
mod guarded;
mod identity;
mod listening;
mod lists;
#[cfg(feature = "server")]
pub(crate) mod logins;
mod sessions;
