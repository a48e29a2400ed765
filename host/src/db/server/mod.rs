//! The database itself: reaching it, its schema, and how long it keeps what.

mod check;
#[cfg(feature = "embedded-db")]
mod embedded;
mod migrate;
mod retention;

pub use migrate::{SchemaState, index_searches, migrate, schema_state};
pub use retention::{KEPT, Kept, Lifetime, kept_delete};
