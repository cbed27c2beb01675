//! The commands of the program, one file each; the demonstration has a folder of its own.

pub(super) mod audit;
pub(super) mod call;
pub(super) mod credentials;
pub(super) mod database;
pub(super) mod docs;
pub(super) mod doctor;
pub(super) mod export;
pub(super) mod healthcheck;
pub(super) mod import;
pub(super) mod keys;
pub(super) mod list;
pub(super) mod register;
pub(super) mod serve;
pub(super) mod stdio;
pub(super) mod validate;
