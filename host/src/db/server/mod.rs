//! The database itself: connecting, schema, and retention.

mod check;
#[cfg(feature = "embedded-db")]
mod embedded;
mod facts;
mod installation;
mod migrate;
mod partition;
mod retention;

pub(in crate::db) use check::examine;
#[cfg(feature = "embedded-db")]
pub(in crate::db) use embedded::{Embedded, open};
pub use facts::{ServerFacts, server_facts, wall_time};
pub use installation::{
    InstallationRow, MailsWaiting, RunsWaiting, installation_accept, installation_beat,
    installation_claim, installation_found, installation_gap, installation_lock,
    installation_unknown, mails_waiting, runs_waiting, send_never_tried, server_identity,
    workers_at,
};
pub use migrate::{SchemaState, index_searches, migrate, schema_state};
pub use partition::{
    EventsForm, chunks_drop, events_form, is_forbidden, partition_events, partitions_ahead,
    partitions_drop, unfinished_clear,
};
pub use retention::{KEPT, Kept, Lifetime, kept_delete};
