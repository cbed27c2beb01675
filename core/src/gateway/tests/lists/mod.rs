//! What lists show, and what clients hear of changes.

mod claims;
mod discoveries;
mod logs;
mod pages;
mod refreshed;
mod shown;
mod voices;
