//! Pausing and resuming.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::Scope;
use crate::audit::{Actor, Change, Refused, audit};
use crate::db::{self, Conn, Db, PauseRow, Tx};
use crate::states::{PauseCause, PauseScope};

/// The longest reason, in characters.
const REASON_MAX: usize = 500;
/// How long the spike guard leaves a journey alone that an operator resumed.
pub const QUIET: TimeDelta = TimeDelta::days(1);

/// Why a plain resume does not end this pause.
const RESTORED: &str = "The database was restored or copied: look at what would be sent with `hogsend resume --after-restore --dry-run`, and accept it with afterRestore";

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
    let work = async |mut tx: Tx| {
        let cause = PauseCause::Operator;
        let made = begin(&mut tx, actor, (scope, cause), reason, now).await?;
        db::Result::Ok((tx, made))
    };
    let made = db.transact(work).await?;
    Ok(made)
}

/// Begins a pause in the caller's transaction. A pause of the same scope that lasts already stays as it is, but
/// that of a restored database takes the place of another one. Returns whether it is new.
pub async fn begin(
    conn: &mut Conn,
    actor: &Actor,
    (scope, cause): (&Scope, PauseCause),
    reason: Option<&str>,
    now: DateTime<Utc>,
) -> db::Result<bool> {
    let row = PauseRow {
        scope: scope.kind(),
        name: scope.name().to_owned(),
        since: now,
        until: None,
        cause,
        reason: reason.map(str::to_owned),
        paused_by: actor.name().to_owned(),
    };
    let made = match cause {
        PauseCause::Restore => db::pause_restored(conn, &row).await?,
        PauseCause::Operator | PauseCause::Spike => db::pause_begin(conn, &row).await?,
    };
    if made {
        let named = scope.to_string();
        let change = Change::created(json!({ "reason": row.reason, "cause": row.cause }));
        audit(conn, actor, "pause.begin", ("pause", &named), change, now).await?;
        tracing::warn!(
            pause = named,
            by = row.paused_by,
            reason = row.reason,
            "paused"
        );
    }
    Ok(made)
}

/// Ends a pause. What it held goes on within seconds, a few hundred each second. A journey that an operator
/// resumes, paused or not, may enrol as many contacts as come: the spike guard leaves it alone for [`QUIET`].
/// Returns the pause, or None where there is none of this scope.
///
/// # Errors
/// A conflict where the database was restored or copied, which has to be accepted in another way.
pub async fn resume(
    db: &Db,
    actor: &Actor,
    scope: &Scope,
    now: DateTime<Utc>,
) -> Result<Option<PauseRow>, Refused> {
    let named = scope.to_string();
    let work = async |mut tx: Tx| {
        let ended = db::pause_end(&mut tx, scope.kind(), scope.name(), now).await?;
        if ended.is_none()
            && scope.kind() == PauseScope::Everything
            && db::pause_restored_lasts(&mut tx).await?
        {
            return Err(Refused::Conflict(RESTORED));
        }
        let about = ("pause", named.as_str());
        if let Some(pause) = &ended {
            let was = json!({ "since": pause.since, "reason": pause.reason });
            let change = Change::deleted(was);
            audit(&mut tx, actor, "pause.end", about, change, now).await?;
        }
        if let Scope::Journey(id) = scope {
            let until = now + QUIET;
            db::guard_quiet(&mut tx, id, until).await?;
            let change = Change::created(json!({ "unguardedUntil": until }));
            audit(&mut tx, actor, "pause.unguard", about, change, now).await?;
        }
        Ok((tx, ended))
    };
    let ended = db.transact(work).await?;
    if ended.is_some() {
        tracing::warn!(pause = named, by = actor.name(), "resumed");
    }
    Ok(ended)
}
