//! Kind F: dialects of configuration.

use crate::case::{Case, run};

#[tokio::test]
async fn dialects_are_read() {
    run("F", CASES).await;
}

const CASES: &[Case] = &[];
