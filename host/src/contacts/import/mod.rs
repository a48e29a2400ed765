//! Reads files of contacts. `ingest/import.rs` stores their rows.

mod rows;

pub use rows::{Numbered, Row, Rows};
