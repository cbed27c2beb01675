//! Kind G: behind a proxy or a prefix.

use crate::case::{Case, run};

#[tokio::test]
async fn a_prefix_works() {
    run("G", CASES).await;
}

const CASES: &[Case] = &[];
