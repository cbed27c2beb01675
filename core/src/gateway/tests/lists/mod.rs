//! The content of lists, and the notifications of changes to clients.

mod claims;
mod cold;
mod discoveries;
mod logs;
mod pages;
mod refreshed;
mod shown;
mod voices;
