//! Kind D: the wrong reason told.

use crate::case::{Case, run};

#[tokio::test]
async fn the_reason_is_told() {
    run("D", CASES).await;
}

const CASES: &[Case] = &[];
