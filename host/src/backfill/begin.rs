//! Beginning a backfill, or going on with one.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::{BackfillError, Begun, Historian, LEASE, Tally};
use crate::audit::{Actor, Change, audit};
use crate::context::Context;
use crate::db::{self, BackfillRow, Conn, Tx};
use crate::ids::Claim;

/// What is to be read.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The id of the source's plugin.
    pub source: String,
    /// None goes on with the unfinished backfill.
    pub since: Option<DateTime<Utc>>,
    /// None means until now.
    pub until: Option<DateTime<Utc>>,
    /// Names of events as the vendor spells them; empty means all.
    pub events: Vec<String>,
    /// Whether an unfinished backfill is given up.
    pub restart: bool,
}

/// Takes up the source's unfinished backfill if it is the wanted one, or begins one.
///
/// # Errors
///
/// There is no such source, the times are wrong, another process reads the source, or an unfinished
/// backfill is another one than is wanted.
pub async fn begin(cx: &Context, by: &Actor, wanted: &Wanted) -> Result<Begun, BackfillError> {
    Historian::find(cx, &wanted.source)?;
    let now = cx.clock.now();
    cx.db
        .transact(|mut tx: Tx| async move {
            let begun = begin_in(cx, &mut tx, by, wanted, now).await?;
            Ok::<_, BackfillError>((tx, begun))
        })
        .await
}

async fn begin_in(
    cx: &Context,
    conn: &mut Conn,
    by: &Actor,
    wanted: &Wanted,
    now: DateTime<Utc>,
) -> Result<Begun, BackfillError> {
    let source = &wanted.source;
    let claim = Claim::new(now);
    let lease_until = now + LEASE;
    let last = db::backfill_get(conn, source).await?;
    let open = last.filter(|row| row.finished_at.is_none());
    let running = |row: &BackfillRow| BackfillError::Running {
        source_id: source.clone(),
        since: row.since,
        free_at: row.lease_until.unwrap_or(now),
    };
    if let Some(row) = &open
        && row.lease_until.is_some_and(|until| until > now)
    {
        return Err(running(row));
    }
    if let Some(row) = open.filter(|_| !wanted.restart) {
        let same = wanted.since.is_none_or(|since| since == row.since)
            && wanted.until.is_none_or(|until| until == row.until)
            && (wanted.events.is_empty() || wanted.events == row.events);
        if !same {
            return Err(BackfillError::Unfinished {
                source_id: source.clone(),
                since: row.since,
                until: row.until,
            });
        }
        if !db::backfill_take(conn, source, claim, lease_until, now).await? {
            return Err(running(&row));
        }
        return Ok(Begun {
            source: source.clone(),
            since: row.since,
            until: row.until,
            events: row.events,
            resumed: true,
            cursor: row.cursor,
            tally: serde_json::from_value(row.tally).unwrap_or_default(),
            claim: Some(claim),
        });
    }
    let (since, until) = window(cx, conn, wanted, now).await?;
    let row = BackfillRow {
        since,
        until,
        events: wanted.events.clone(),
        cursor: None,
        tally: json!({}),
        lease_until: Some(lease_until),
        finished_at: None,
    };
    if !db::backfill_begin(conn, source, &row, claim, now).await? {
        return Err(running(&row));
    }
    let change = Change::created(json!({
        "since": since, "until": until, "events": wanted.events,
    }));
    audit(
        conn,
        by,
        "backfill.begin",
        ("backfill", source),
        change,
        now,
    )
    .await?;
    Ok(Begun {
        source: source.clone(),
        since,
        until,
        events: row.events,
        resumed: false,
        cursor: None,
        tally: Tally::default(),
        claim: Some(claim),
    })
}

/// The times to read, checked.
pub(super) async fn window(
    cx: &Context,
    conn: &mut Conn,
    wanted: &Wanted,
    now: DateTime<Utc>,
) -> Result<(DateTime<Utc>, DateTime<Utc>), BackfillError> {
    let since = wanted
        .since
        .ok_or_else(|| BackfillError::NoSince(wanted.source.clone()))?;
    let until = wanted.until.unwrap_or(now).min(now);
    if since >= until {
        return Err(BackfillError::Backwards { since, until });
    }
    let earliest = earliest(cx, conn, &wanted.source, now).await?;
    match earliest {
        // To the second, so that the time can be typed.
        Some(earliest) if since < earliest => Err(BackfillError::TooEarly {
            since,
            earliest: rounded_up(earliest),
        }),
        _ => Ok((since, until)),
    }
}

fn rounded_up(at: DateTime<Utc>) -> DateTime<Utc> {
    let whole = DateTime::from_timestamp(at.timestamp(), 0).unwrap_or(at);
    if whole == at {
        at
    } else {
        whole + TimeDelta::seconds(1)
    }
}

/// From when on every event that was received has its key; None where that is always.
pub(super) async fn earliest(
    cx: &Context,
    conn: &mut Conn,
    source: &str,
    now: DateTime<Utc>,
) -> db::Result<Option<DateTime<Utc>>> {
    let kept = cx.config.retention.keys.map(|age| now - age);
    let complete = db::keys_complete_since(conn, source).await?;
    Ok(kept.max(complete))
}
