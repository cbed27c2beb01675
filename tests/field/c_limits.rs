//! Kind C: limits nobody can set.

use crate::case::{Case, run};

#[tokio::test]
async fn limits_can_be_set() {
    run("C", CASES).await;
}

const CASES: &[Case] = &[];
