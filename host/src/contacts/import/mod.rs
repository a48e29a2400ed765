//! The rows of a file of contacts. `ingest/import.rs` brings them in.

mod rows;

pub use rows::{Numbered, Row, Rows};
