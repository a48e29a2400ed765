//! Reports of providers that are ahead of the ledger.

use chrono::{DateTime, TimeDelta, Utc};

use super::doubt::{Doubt, halt};
use super::mark_of;
use crate::context::Context;
use crate::db::{self, Conn, InstallationRow, Tx};
use crate::ids::SendId;

/// So many unknown mails show that the ledger lost them; a single one may belong to an erased contact.
const UNKNOWN: usize = 3;
/// After so long without a heartbeat, no worker runs.
const SILENT: TimeDelta = TimeDelta::minutes(1);

/// A report that the ledger cannot explain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ahead {
    /// About a mail that was never tried.
    NeverTried,
    /// About a mail that the ledger does not know.
    Unknown(SendId),
}

/// Whether a report about this mail, which the ledger knows or not, is ahead of the ledger.
pub async fn ahead(
    conn: &mut Conn,
    reported: Option<SendId>,
    known: Option<SendId>,
) -> db::Result<Option<Ahead>> {
    match (known, reported) {
        (Some(send), _) if db::send_never_tried(conn, send).await? => Ok(Some(Ahead::NeverTried)),
        (None, Some(send)) => Ok(Some(Ahead::Unknown(send))),
        _ => Ok(None),
    }
}

/// Pauses everything where such a report shows that the database was restored or copied.
///
/// A mail that was never tried and that a provider knows is proof. An unknown mail may be that of another
/// installation with the same account at the provider, or of an erased contact. It counts where its id has this
/// installation's mark and it was made while no worker ran here: then the ledger has lost it.
pub async fn reported(cx: &Context, ahead: Ahead) -> db::Result<()> {
    let now = cx.clock.now();
    let work = async |mut tx: Tx| {
        let row = db::installation_lock(&mut tx).await?;
        if row.public_url.is_some() {
            let shows = match ahead {
                Ahead::NeverTried => true,
                Ahead::Unknown(send) => is_lost(&mut tx, &row, send, now).await?,
            };
            if shows {
                halt(&mut tx, &Doubt::Reports, now).await?;
            }
        }
        db::Result::Ok((tx, ()))
    };
    cx.db.transact(work).await
}

/// Counts an unknown mail that this ledger must have lost, and says whether they are enough.
async fn is_lost(
    conn: &mut Conn,
    row: &InstallationRow,
    send: SendId,
    now: DateTime<Utc>,
) -> db::Result<bool> {
    let known = row.unknown.contains(&send.0);
    if known || !send.has_mark(mark_of(row.id, row.epoch)) || !without_worker(row, send, now) {
        return Ok(false);
    }
    db::installation_unknown(conn, send).await?;
    Ok(row.unknown.len() + 1 >= UNKNOWN)
}

/// Whether no worker of this ledger ran when the mail was made.
fn without_worker(row: &InstallationRow, send: SendId, now: DateTime<Utc>) -> bool {
    let Some(made) = send.made_at() else {
        return false;
    };
    let in_gap = row
        .gap_from
        .zip(row.gap_to)
        .is_some_and(|(from, to)| from < made && made < to);
    // None has started since.
    let silent = row
        .seen_at
        .is_some_and(|seen| seen < now - SILENT && seen < made && made <= now);
    in_gap || silent
}
