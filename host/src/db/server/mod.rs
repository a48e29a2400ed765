//! The database itself: connecting, schema, and retention.

mod check;
#[cfg(feature = "embedded-db")]
mod embedded;
mod migrate;
mod retention;

pub(in crate::db) use check::examine;
#[cfg(feature = "embedded-db")]
pub(in crate::db) use embedded::{Embedded, open};
pub use migrate::{SchemaState, index_searches, migrate, schema_state};
pub use retention::{KEPT, Kept, Lifetime, kept_delete};
