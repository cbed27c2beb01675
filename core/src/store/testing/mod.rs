//! The contract suite: the behaviour that every store must have, for authors of stores.
//!
//! The feature `testing` makes it public. A store runs all of it by one line in its tests:
//!
//! ```
//! use std::sync::Arc;
//! use mcp_registry_gateway::store::testing::store_contract;
//! use mcp_registry_gateway::{MemoryStore, Store};
//!
//! /// An empty store, and a value that must live as long, such as its folder.
//! async fn open() -> (Arc<dyn Store>, ()) {
//!     (Arc::new(MemoryStore::new()), ())
//! }
//!
//! store_contract!(memory, open);
//! # fn main() {}
//! ```
//!
//! That makes a module `memory` with a test for each promise.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a panic in a test is a failed test"
)]

#[doc(hidden)]
pub mod audit;
#[doc(hidden)]
pub mod beside;
mod fixtures;
#[doc(hidden)]
pub mod keys;
#[doc(hidden)]
pub mod listings;
#[doc(hidden)]
pub mod once;
#[doc(hidden)]
pub mod servers;
#[doc(hidden)]
pub mod watch;

pub use self::fixtures::{audit, listing, server};
#[cfg(all(test, feature = "sqlite"))]
pub(crate) use self::fixtures::{credential, key};
#[doc(inline)]
pub use crate::store_contract;

/// Makes a module of this name whose tests are the contract. The second argument names an async function beside it that returns
/// an empty store, as `Arc<dyn Store>`, and a value that must live as long as the store.
#[macro_export]
macro_rules! store_contract {
    ($name:ident, $open:ident) => {
        $crate::store_contract!(@tests $name, $open,
            servers::a_server_comes_back_as_it_was_written,
            servers::a_name_is_taken_until_its_server_is_removed,
            servers::tenants_do_not_see_or_touch_each_other,
            servers::an_update_needs_the_revision_that_is_stored,
            servers::an_update_leaves_name_creation_and_observed_health,
            servers::a_removed_server_is_gone_with_all_that_it_had,
            audit::every_mutation_has_its_audit_row_and_no_failure_has_one,
            listings::definitions_come_back_byte_for_byte_and_in_order,
            listings::a_listing_replaces_the_one_before,
            servers::servers_come_in_order_of_creation,
            listings::health_keeps_the_newest_observations_and_no_revision_moves,
            servers::of_two_that_register_one_name_at_once_exactly_one_succeeds,
            servers::of_two_updates_from_one_revision_exactly_one_succeeds,
            servers::text_is_data_and_never_a_statement,
            audit::the_audit_trail_is_searched_followed_and_kept,
            once::a_creation_under_a_key_is_done_once_and_answered_alike,
            once::a_creation_that_fails_leaves_its_key_unused,
            once::a_key_is_free_again_after_a_day,
            once::an_api_key_is_made_once_under_a_key,
            once::of_two_creations_under_one_key_at_once_one_is_done,
            beside::a_tenant_is_written_once_and_changed_from_the_revision_that_is_stored,
            beside::a_tenant_that_has_a_server_is_known,
            keys::keys_come_back_as_they_were_written,
            keys::a_key_is_replaced_once_and_revoked_once,
            keys::a_removed_server_takes_its_keys_with_it,
            servers::a_store_that_works_says_so,
            beside::credentials_are_one_for_each_header_and_go_with_their_server,
            beside::a_claim_is_one_for_each_uri_of_a_tenant,
            watch::every_change_is_told_with_its_kind,
            watch::two_listeners_hear_the_same_change_and_one_that_is_late_hears_all_at_once,
            watch::a_failed_change_and_an_observation_are_not_told,
        );
    };
    (@tests $name:ident, $open:ident, $($group:ident::$test:ident,)+) => {
        mod $name {
            $(
                #[test]
                fn $test() {
                    $crate::store::testing::run(async {
                        let (store, _guard) = super::$open().await;
                        $crate::store::testing::$group::$test(store).await;
                    });
                }
            )+
        }
    };
}

/// Runs one test of the contract to its end.
#[doc(hidden)]
pub fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

#[cfg(test)]
mod backends {
    use std::sync::Arc;

    use crate::store::{MemoryStore, Store};

    async fn memory() -> (Arc<dyn Store>, ()) {
        (Arc::new(MemoryStore::new()), ())
    }

    #[cfg(feature = "sqlite")]
    async fn sqlite() -> (Arc<dyn Store>, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let store = crate::store::SqliteStore::open(&folder.path().join("registry.db")).await.unwrap();
        (Arc::new(store), folder)
    }

    store_contract!(memory_store, memory);
    #[cfg(feature = "sqlite")]
    store_contract!(sqlite_store, sqlite);
}
