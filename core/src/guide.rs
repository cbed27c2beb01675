#![doc = include_str!("../docs/guide/embed-rust.md")]

/// The README, whose Rust is compiled with the documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
