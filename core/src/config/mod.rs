//! See `core/ARCHITECTURE.md`.
