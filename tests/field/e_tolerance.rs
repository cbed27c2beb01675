//! Kind E: stricter than what is in use.

use crate::case::{Case, run};

#[tokio::test]
async fn what_is_in_use_is_taken() {
    run("E", CASES).await;
}

const CASES: &[Case] = &[];
