//! Storing a page of past events.

use chrono::{DateTime, TimeDelta, Utc};
use hogsend_plugin_api::SourceEvent;

use super::{BackfillError, Begun, LEASE, Tally, Tools};
use crate::db::{self, BackfillProgress, Tx};
use crate::ingest::{NewEvent, Stored, admit, store};

/// Events in one transaction. It locks the names of all its events, so it must stay small.
const TOGETHER: usize = 250;
/// Events that happened longer ago do not enrol, unless the journey's `late` rule says otherwise.
const LATE: TimeDelta = TimeDelta::hours(24);

/// Stores a page and how far the backfill is, or, where the backfill has no claim, finds out what storing it
/// would do. `next` is the cursor of the next page; None at the end.
pub(super) async fn store_page(
    tools: Tools<'_>,
    begun: &mut Begun,
    events: Vec<SourceEvent>,
    next: Option<String>,
) -> Result<(), BackfillError> {
    let now = tools.cx.clock.now();
    let (mut events, mut tally) = usable(tools, begun, events, now);
    loop {
        let rest = events.split_off(events.len().min(TOGETHER));
        let last = rest.is_empty();
        let after = Progress {
            cursor: if last {
                next.as_deref()
            } else {
                begun.cursor.as_deref()
            },
            finished: last && next.is_none(),
            tally: &tally,
        };
        begun.tally = store_chunk(tools, begun, events, &after).await?;
        if last {
            begun.cursor = next;
            return Ok(());
        }
        // What could not be used is counted with the first chunk.
        tally = Tally::default();
        events = rest;
    }
}

/// The progress to store with a chunk.
struct Progress<'a> {
    cursor: Option<&'a str>,
    finished: bool,
    /// Counts to add besides those of the chunk.
    tally: &'a Tally,
}

/// The events that can be stored, and counts of the others.
fn usable(
    tools: Tools<'_>,
    begun: &Begun,
    events: Vec<SourceEvent>,
    now: DateTime<Utc>,
) -> (Vec<NewEvent>, Tally) {
    let cx = tools.cx;
    let trust = cx.trust(&begun.source);
    let oldest = cx.config.retention.keys.map(|age| now - age);
    let mut tally = Tally::default();
    let mut all = Vec::with_capacity(events.len());
    for event in events {
        let at = event.occurred_at.unwrap_or(now);
        let wanted = begun.events.is_empty() || begun.events.contains(&event.name);
        if !wanted || at < begun.since || at > begun.until {
            continue;
        }
        if event.dedupe_key.is_none() {
            tally.unusable += 1;
        } else if oldest.is_some_and(|oldest| at < oldest) {
            tally.too_old += 1;
        } else {
            let mut event = NewEvent::from_source(&begun.source, trust, event);
            event.caught_up = true;
            match admit(&mut event) {
                Ok(()) => all.push(event),
                Err(_) => tally.unusable += 1,
            }
        }
    }
    tools.naming.apply(&mut all);
    (all, tally)
}

/// Stores a chunk with its progress. Returns the totals.
async fn store_chunk(
    tools: Tools<'_>,
    begun: &Begun,
    events: Vec<NewEvent>,
    after: &Progress<'_>,
) -> Result<Tally, BackfillError> {
    match store_all(tools, begun, &events, after).await {
        Err(BackfillError::Database(error))
            if !db::is_transient(&error) && !db::is_unavailable(&error) && !events.is_empty() =>
        {
            // One event can fail the whole chunk: store each on its own, then the progress.
            let mut apart = Tally::default();
            for event in &events {
                let stored = attempt(tools, begun, std::slice::from_ref(event)).await;
                match stored {
                    Ok(tally) => apart.add(tally),
                    Err(BackfillError::Database(error))
                        if !db::is_transient(&error) && !db::is_unavailable(&error) =>
                    {
                        apart.failed += 1;
                        tracing::warn!(source = begun.source, %error,
                            "a past event could not be stored and is left out");
                    }
                    Err(error) => return Err(error),
                }
            }
            apart.add(after.tally.clone());
            let after = Progress {
                tally: &apart,
                ..*after
            };
            store_all(tools, begun, &[], &after).await
        }
        stored => stored,
    }
}

/// Stores events without progress.
async fn attempt(
    tools: Tools<'_>,
    begun: &Begun,
    events: &[NewEvent],
) -> Result<Tally, BackfillError> {
    tools
        .cx
        .db
        .transact(|mut tx: Tx| async move {
            hold(tools, begun, &mut tx).await?;
            let tally = store_events(tools, &mut tx, events).await?;
            Ok::<_, BackfillError>((begun.claim.map(|_| tx), tally))
        })
        .await
}

/// Stores all events and the progress, or nothing. Returns the totals.
async fn store_all(
    tools: Tools<'_>,
    begun: &Begun,
    events: &[NewEvent],
    after: &Progress<'_>,
) -> Result<Tally, BackfillError> {
    tools
        .cx
        .db
        .transact(|mut tx: Tx| async move {
            hold(tools, begun, &mut tx).await?;
            let mut total = begun.tally.clone();
            total.add(after.tally.clone());
            total.add(store_events(tools, &mut tx, events).await?);
            if begun.claim.is_none() {
                // Nothing is to be stored: dropping the transaction rolls it back.
                return Ok((None, total));
            }
            let progress = BackfillProgress {
                cursor: after.cursor,
                tally: serde_json::to_value(&total).unwrap_or_default(),
                finished: after.finished,
            };
            let now = tools.cx.clock.now();
            db::backfill_progress(&mut tx, &begun.source, &progress, now).await?;
            Ok::<_, BackfillError>((Some(tx), total))
        })
        .await
}

/// Locks the backfill, so that nobody takes it over meanwhile.
async fn hold(tools: Tools<'_>, begun: &Begun, tx: &mut Tx) -> Result<(), BackfillError> {
    let Some(claim) = begun.claim else {
        return Ok(());
    };
    let until = tools.cx.clock.now() + LEASE;
    match db::backfill_hold(tx, &begun.source, claim, until).await? {
        true => Ok(()),
        false => Err(BackfillError::TakenOver),
    }
}

async fn store_events(
    tools: Tools<'_>,
    tx: &mut Tx,
    events: &[NewEvent],
) -> Result<Tally, BackfillError> {
    if events.is_empty() {
        return Ok(Tally::default());
    }
    let cx = tools.cx;
    let now = cx.clock.now();
    let Stored {
        events: stored,
        entries,
        ..
    } = store(tx, &cx.catalog(), now, events.to_vec()).await?;
    let mut tally = Tally {
        entries,
        ..Tally::default()
    };
    for (event, stored) in events.iter().zip(stored) {
        if !stored.stored {
            tally.known += 1;
            continue;
        }
        tally.new += 1;
        let age = event.occurred_at.map(|at| now - at);
        tally.late += u64::from(age.is_some_and(|age| age > LATE));
    }
    Ok(tally)
}
