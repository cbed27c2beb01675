//! Which server offers which items: asking servers, and the index over their answers.
//!
//! An [`Index`] is immutable and follows from one [`RegistryState`](crate::registry::RegistryState) of the registry; the next one is
//! made from it at the price of the changes. A lookup takes one hash and no lock.

mod card;
pub mod fetch;
pub mod index;
pub mod list;
mod search;
pub mod template;
#[cfg(test)]
mod tests;

pub use fetch::{Fetched, Heard, ListSource, fetch, fetch_modern, freshness};
pub use index::{Found, Index};
pub use list::{ListPage, parse_list};
pub use search::Hit;
pub use template::Template;

pub use crate::registry::items::{Excluded, Repaired};
