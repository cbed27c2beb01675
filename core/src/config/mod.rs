//! The configuration: one file, `.env` over it, the environment over both, every problem reported at once.
//!
//! `mcp-gateway.toml` holds sections of plain keys, each of which is also `MREG_SECTION__KEY` in the environment.
//! [`load`] is a pure function of the [`Sources`], so that a running gateway loads again and takes the result
//! as a whole or not at all. This is the only module that reads the environment.

mod check;
mod declared;
#[cfg(feature = "server")]
mod described;
mod dotenv;
mod load;
mod paths;
mod problem;
mod sections;
mod source;

pub use crate::auth::Auth;
pub use declared::{MAX_IMPORT_BYTES, import_file, with_variables};
#[cfg(feature = "server")]
pub use described::{Section, Setting, sections};
pub use dotenv::{DOTENV_FILE, Dotenv};
pub use load::load;
pub use paths::default_data_dir;
pub use problem::{Problem, Problems};
pub use sections::{Config, Health, Log, LogFormat, Server, Session, Store, Tls, Upstream};
pub use source::{CONFIG_FILE, Sources};

/// Largest configuration file, in bytes.
pub const MAX_FILE_BYTES: u64 = 1024 * 1024;

#[cfg(test)]
mod tests;
