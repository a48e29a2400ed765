//! Pausing and resuming.

use chrono::{DateTime, Utc};
use serde_json::json;

use super::Scope;
use crate::audit::{Actor, Change, Refused, audit};
use crate::db::{self, Db, PauseRow, Tx};

/// The longest reason, in characters.
const REASON_MAX: usize = 500;

/// Pauses; a pause of the same scope that lasts already stays as it is. Returns whether it is new.
///
/// # Errors
/// A reason that is too long.
pub async fn pause(
    db: &Db,
    actor: &Actor,
    scope: &Scope,
    reason: Option<&str>,
    now: DateTime<Utc>,
) -> Result<bool, Refused> {
    let reason = reason.map(str::trim).filter(|reason| !reason.is_empty());
    if reason.is_some_and(|reason| reason.chars().count() > REASON_MAX) {
        let message = format!("must have at most {REASON_MAX} characters");
        return Err(Refused::invalid("reason", message));
    }
    let row = PauseRow {
        scope: scope.kind(),
        name: scope.name().to_owned(),
        since: now,
        until: None,
        reason: reason.map(str::to_owned),
        paused_by: actor.name().to_owned(),
    };
    let named = scope.to_string();
    let work = async |mut tx: Tx| {
        let made = db::pause_begin(&mut tx, &row).await?;
        if made {
            let change = Change::created(json!({ "reason": row.reason }));
            audit(
                &mut tx,
                actor,
                "pause.begin",
                ("pause", &named),
                change,
                now,
            )
            .await?;
        }
        db::Result::Ok((tx, made))
    };
    let made = db.transact(work).await?;
    if made {
        tracing::warn!(pause = named, by = row.paused_by, "paused");
    }
    Ok(made)
}

/// Ends a pause. What it held goes on within seconds, a few hundred each second. Returns the pause, or
/// None where there is none of this scope.
pub async fn resume(
    db: &Db,
    actor: &Actor,
    scope: &Scope,
    now: DateTime<Utc>,
) -> Result<Option<PauseRow>, Refused> {
    let named = scope.to_string();
    let work = async |mut tx: Tx| {
        let ended = db::pause_end(&mut tx, scope.kind(), scope.name(), now).await?;
        if let Some(pause) = &ended {
            let was = json!({ "since": pause.since, "reason": pause.reason });
            audit(
                &mut tx,
                actor,
                "pause.end",
                ("pause", &named),
                Change::deleted(was),
                now,
            )
            .await?;
        }
        db::Result::Ok((tx, ended))
    };
    let ended = db.transact(work).await?;
    if ended.is_some() {
        tracing::warn!(pause = named, by = actor.name(), "resumed");
    }
    Ok(ended)
}
