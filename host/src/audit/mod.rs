//! The audit log: what administrators change, over HTTP and by commands.
//!
//! A change takes an [`Actor`], and writes its row with [`audit`] in its own transaction. Entry points only
//! say who the actor is: they call the module of the noun, and `tests/structure.rs` keeps them from writing.

mod actor;
mod refused;

pub use actor::{Actor, By};
pub use refused::Refused;

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::db::{self, Conn, NewAudit};

/// The values before and after a change. Must never contain a secret.
pub struct Change {
    before: Option<Value>,
    after: Option<Value>,
}

impl Change {
    pub fn created(after: Value) -> Self {
        Self {
            before: None,
            after: Some(after),
        }
    }

    pub fn changed(before: Value, after: Value) -> Self {
        Self {
            before: Some(before),
            after: Some(after),
        }
    }

    pub fn deleted(before: Value) -> Self {
        Self {
            before: Some(before),
            after: None,
        }
    }
}

/// Records that `actor` did `action` (`api_key.create`) to the resource of this type and id
/// (`("api_key", "0190…")`). Call it in the transaction of the change itself.
pub async fn audit(
    conn: &mut Conn,
    actor: &Actor,
    action: &str,
    (resource_type, resource_id): (&str, &str),
    change: Change,
    now: DateTime<Utc>,
) -> db::Result<()> {
    let row = NewAudit {
        actor_type: actor.kind(),
        actor_id: actor.id(),
        actor_name: actor.name(),
        action,
        resource_type,
        resource_id,
        before: change.before,
        after: change.after,
    };
    db::audit_insert(conn, &row, now).await
}
