//! Reading a source's past to its end.

use std::pin::pin;
use std::time::Duration;

use chrono::{DateTime, Utc};
use hogsend_plugin_api::{Past, PastIn, PastPage};
use tokio_util::sync::CancellationToken;

use super::begin::window;
use super::page::store_page;
use super::{BackfillError, Begun, Historian, LEASE, Tally, Tools, Wanted};
use crate::db;
use crate::plugins::ErrorKind;

/// How often the vendor may give no page before the backfill is left for later.
const TRIES: u32 = 40;
/// The wait after a call of the plugin that failed; it doubles up to the longest.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// How far a backfill is.
#[derive(Clone, Debug)]
pub struct Progress<'a> {
    pub since: DateTime<Utc>,
    pub until: DateTime<Utc>,
    /// The time of the last event.
    pub at: Option<DateTime<Utc>>,
    pub tally: &'a Tally,
    /// The vendor gives nothing for so long, and why.
    pub waiting: Option<(Duration, &'a str)>,
}

/// Reads and stores to the end, and returns what became of all events, those of earlier attempts included.
/// `tell` hears of each page and each wait.
///
/// # Errors
///
/// The vendor or the database does not answer, or `stop` was cancelled: the backfill is left for the next
/// process, which goes on with the page that this one began.
pub async fn read(
    tools: Tools<'_>,
    mut begun: Begun,
    stop: &CancellationToken,
    tell: &mut (dyn FnMut(&Progress<'_>) + Send),
) -> Result<Tally, BackfillError> {
    let done = read_pages(tools, &mut begun, stop, tell).await;
    if let (Err(_), Some(claim)) = (&done, begun.claim) {
        let released = match tools.cx.db.conn().await {
            Ok(mut conn) => db::backfill_release(&mut conn, &begun.source, claim).await,
            Err(error) => Err(error),
        };
        if let Err(error) = released {
            tracing::debug!(%error, "the backfill can be gone on with when its lease ends");
        }
    }
    done
}

/// Reads to the end and stores nothing. Each part of a page is tried in a transaction that is rolled back,
/// so an entry that an earlier part would have made does not prevent a later one.
///
/// # Errors
///
/// As those of [`begin`](super::begin) and [`read`].
pub async fn rehearse(
    tools: Tools<'_>,
    wanted: &Wanted,
    stop: &CancellationToken,
    tell: &mut (dyn FnMut(&Progress<'_>) + Send),
) -> Result<Tally, BackfillError> {
    let cx = tools.cx;
    Historian::find(cx, &wanted.source)?;
    let (since, until) = {
        let mut conn = cx.db.conn().await?;
        window(cx, &mut conn, wanted, cx.clock.now()).await?
    };
    let mut begun = Begun {
        source: wanted.source.clone(),
        since,
        until,
        events: wanted.events.clone(),
        resumed: false,
        cursor: None,
        tally: Tally::default(),
        claim: None,
    };
    read_pages(tools, &mut begun, stop, tell).await
}

async fn read_pages(
    tools: Tools<'_>,
    begun: &mut Begun,
    stop: &CancellationToken,
    tell: &mut (dyn FnMut(&Progress<'_>) + Send),
) -> Result<Tally, BackfillError> {
    let historian = Historian::find(tools.cx, &begun.source)?;
    let mut tries = 0;
    let mut at = None;
    loop {
        let past = PastIn::new(begun.since, begun.cursor.clone())
            .until(begun.until)
            .events(begun.events.clone());
        let asked = meanwhile(tools, begun, stop, historian.page(&past)).await?;
        let (wait, reason) = match asked {
            Ok(Past::Page(PastPage { events, next, .. })) => {
                tries = 0;
                if next.is_some() && next == begun.cursor {
                    let reason = "the plugin gives the same page again and again";
                    return Err(unavailable(begun, reason));
                }
                let times = events.iter().filter_map(|event| event.occurred_at);
                at = times.filter(|at| *at <= begun.until).max().max(at);
                let over = next.is_none();
                store_page(tools, begun, events, next).await?;
                tell(&Progress {
                    since: begun.since,
                    until: begun.until,
                    at: if over { Some(begun.until) } else { at },
                    tally: &begun.tally,
                    waiting: None,
                });
                if over {
                    return Ok(std::mem::take(&mut begun.tally));
                }
                continue;
            }
            Ok(Past::Unavailable {
                reason,
                retry_after_ms: Some(ms),
                ..
            }) => (Duration::from_millis(ms), reason),
            Ok(Past::Unavailable { reason, .. }) => return Err(unavailable(begun, &reason)),
            Ok(_) => return Err(BackfillError::NoHistory(begun.source.clone())),
            // It would answer alike again.
            Err(error) if error.kind == ErrorKind::Protocol => return Err(error.into()),
            Err(error) => {
                let wait = PAUSE * 2_u32.pow(tries.min(6));
                (wait.min(PAUSE_MAX), error.to_string())
            }
        };
        tries += 1;
        if tries >= TRIES {
            return Err(unavailable(begun, &reason));
        }
        tell(&Progress {
            since: begun.since,
            until: begun.until,
            at,
            tally: &begun.tally,
            waiting: Some((wait, &reason)),
        });
        meanwhile(tools, begun, stop, tokio::time::sleep(wait)).await?;
    }
}

fn unavailable(begun: &Begun, reason: &str) -> BackfillError {
    BackfillError::Unavailable {
        source_id: begun.source.clone(),
        reason: reason.to_owned(),
    }
}

/// Waits for something outside the database, and extends the lease meanwhile.
async fn meanwhile<T>(
    tools: Tools<'_>,
    begun: &Begun,
    stop: &CancellationToken,
    done: impl Future<Output = T>,
) -> Result<T, BackfillError> {
    let mut done = pin!(done);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return Err(BackfillError::Stopped(begun.source.clone())),
            done = &mut done => return Ok(done),
            () = tokio::time::sleep(LEASE / 4) => {}
        }
        let Some(claim) = begun.claim else { continue };
        let until = tools.cx.clock.now() + LEASE;
        let mut conn = tools.cx.db.conn().await?;
        if !db::backfill_hold(&mut conn, &begun.source, claim, until).await? {
            return Err(BackfillError::TakenOver);
        }
    }
}
