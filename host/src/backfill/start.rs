//! Healing gaps at the start of a worker, where `BACKFILL_ON_START` asks for it.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio_util::sync::CancellationToken;

use super::begin::earliest;
use super::{BackfillError, Tools, Wanted, begin, read};
use crate::audit::Actor;
use crate::config::Backfill;
use crate::db;

/// A vendor may have sent events that happened so long ago when this installation went away.
const MARGIN: TimeDelta = TimeDelta::minutes(10);
/// A gap shorter than this was read by a worker that started at the same time.
const SHORTEST: TimeDelta = TimeDelta::minutes(1);
/// The wait before the next attempt, where the vendor gives nothing or another process reads.
const AGAIN: Duration = Duration::from_secs(60);

/// Reads the past of each source in `BACKFILL_ON_START` until it is read or `stop`.
///
/// Nobody knows exactly when webhooks did not arrive, as another replica may have taken some. So everything
/// since the last finished backfill is read, at most `BACKFILL_MAX_HOURS`; what is known is left out.
pub async fn keep_healed(tools: Tools<'_>, stop: &CancellationToken) {
    for source in &tools.cx.config.backfill.on_start {
        loop {
            let done = heal(tools, source, stop).await;
            match done {
                Ok(()) => break,
                Err(
                    error @ (BackfillError::NoSource { .. }
                    | BackfillError::NoHistory(_)
                    | BackfillError::Unfinished { .. }
                    | BackfillError::TooEarly { .. }),
                ) => {
                    tracing::error!(source, "the gap is not read at start: {error}");
                    break;
                }
                Err(BackfillError::Stopped(_)) => return,
                Err(error @ (BackfillError::Running { .. } | BackfillError::TakenOver)) => {
                    tracing::debug!(source, "the gap is not read by this worker: {error}");
                }
                Err(error) => {
                    tracing::warn!(
                        source,
                        "the gap is not read yet, the next attempt follows: {error}"
                    );
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(AGAIN) => {}
            }
        }
    }
}

/// Reads what is missing of one source.
async fn heal(
    tools: Tools<'_>,
    source: &str,
    stop: &CancellationToken,
) -> Result<(), BackfillError> {
    let Some(wanted) = gap(tools, source).await? else {
        return Ok(());
    };
    let begun = begin(tools.cx, &Actor::System("backfill"), &wanted).await?;
    tracing::info!(source, since = %begun.since, until = %begun.until, "reading what was missed");
    let tally = read(tools, begun, stop, &mut |_| {}).await?;
    tracing::info!(source, "what was missed is read: {tally}");
    Ok(())
}

/// What is to be read; None where there is nothing.
async fn gap(tools: Tools<'_>, source: &str) -> Result<Option<Wanted>, BackfillError> {
    let cx = tools.cx;
    let Backfill { max, events, .. } = &cx.config.backfill;
    let now = cx.clock.now();
    let mut conn = cx.db.conn().await?;
    let last = db::backfill_get(&mut conn, source).await?;
    let mut wanted = Wanted {
        source: source.to_owned(),
        since: None,
        until: None,
        events: Vec::new(),
        restart: false,
    };
    let read_until = match last {
        // It is gone on with first, whoever began it.
        Some(row) if row.finished_at.is_none() => return Ok(Some(wanted)),
        Some(row) => Some(row.until),
        // Before its first event nothing was to arrive.
        None if db::event_last_received(&mut conn, source).await?.is_none() => return Ok(None),
        None => None,
    };
    if read_until.is_some_and(|until| now - until < SHORTEST) {
        return Ok(None);
    }
    let earliest = earliest(cx, &mut conn, source, now).await?;
    let bounds = [
        Some(now - *max),
        read_until.map(|until| until - MARGIN),
        earliest.map(next_second),
    ];
    wanted.since = bounds.into_iter().flatten().max();
    wanted.events.clone_from(events);
    Ok(Some(wanted))
}

/// The clock goes on until the backfill begins.
fn next_second(at: DateTime<Utc>) -> DateTime<Utc> {
    at + TimeDelta::minutes(1)
}
