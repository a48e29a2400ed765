//! What a worker compares when it starts, and with each heartbeat.

use chrono::{DateTime, TimeDelta, Utc};

use super::doubt::{Doubt, halt};
use super::{Memory, mark_of};
use crate::context::Context;
use crate::db::{self, Conn, InstallationRow, Tx};
use crate::loops::BEAT;

/// For how long workers with the address before may still be restarted.
const PREVIOUS: TimeDelta = TimeDelta::days(1);
/// A time without a worker that counts as one during which nothing was sent.
const GAP: TimeDelta = TimeDelta::minutes(1);

/// What a worker may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It may work.
    Clear,
    /// It may run, but nothing is claimed until an operator accepts the database.
    Halted,
    /// Workers with this other address use the database now. It waits until they are gone, or until an
    /// operator accepts its own.
    Waits { used: String },
}

/// Decides whether a worker that starts may work, and keeps what the first one in production finds.
pub async fn examine(cx: &Context) -> db::Result<Standing> {
    // Outside the transaction, which an error would end.
    let server = db::server_identity(&mut *cx.db.conn().await?).await?;
    let memories = Memory::all(cx).await;
    let work = async |mut tx: Tx| {
        let standing = decide(cx, &mut tx, server.as_deref(), &memories).await?;
        db::Result::Ok((tx, standing))
    };
    cx.db.transact(work).await
}

async fn decide(
    cx: &Context,
    conn: &mut Conn,
    server: Option<&str>,
    memories: &[Memory],
) -> db::Result<Standing> {
    let now = cx.clock.now();
    let url = cx.config.api_public_url.as_str();
    let row = db::installation_lock(conn).await?;
    if db::pause_restored_lasts(conn).await? {
        return Ok(Standing::Halted);
    }
    let Some(used) = row.public_url.as_deref() else {
        if cx.config.production {
            db::installation_claim(conn, url, server).await?;
            cx.mark.set(mark_of(row.id, row.epoch));
        }
        return Ok(Standing::Clear);
    };
    cx.mark.set(mark_of(row.id, row.epoch));
    let doubt = if used != url && !was_used(&row, url, now) {
        if db::workers_at(conn, used, now, missed()).await? {
            let used = used.to_owned();
            return Ok(Standing::Waits { used });
        }
        Some(Doubt::Address {
            used: used.to_owned(),
            found: url.to_owned(),
        })
    } else if row
        .server
        .as_deref()
        .zip(server)
        .is_some_and(|(was, is)| was != is)
    {
        Some(Doubt::Server)
    } else if memories.iter().any(|one| one.is_ahead_of(memory_of(&row))) {
        Some(Doubt::Behind)
    } else {
        None
    };
    if let Some(doubt) = doubt {
        db::installation_found(conn, url).await?;
        halt(conn, &doubt, now).await?;
        return Ok(Standing::Halted);
    }
    if row.server.is_none() {
        db::installation_claim(conn, used, server).await?;
    }
    if let Some(seen) = row.seen_at.filter(|seen| *seen < now - GAP) {
        db::installation_gap(conn, seen, now).await?;
    }
    Ok(Standing::Clear)
}

fn missed() -> TimeDelta {
    TimeDelta::from_std(BEAT * 3).unwrap_or_default()
}

/// Whether this was the address until not long ago.
fn was_used(row: &InstallationRow, url: &str, now: DateTime<Utc>) -> bool {
    row.previous_url.as_deref() == Some(url)
        && row.accepted_at.is_some_and(|at| now - at < PREVIOUS)
}

fn memory_of(row: &InstallationRow) -> Memory {
    Memory {
        id: row.id,
        epoch: row.epoch,
        beats: row.beats,
    }
}

/// Learns the mark of the installation, in a process that only makes mails.
pub async fn learn(cx: &Context) -> db::Result<()> {
    let work = async |mut tx: Tx| {
        let row = db::installation_lock(&mut tx).await?;
        db::Result::Ok((tx, row))
    };
    let row = cx.db.transact(work).await?;
    if row.public_url.is_some() {
        cx.mark.set(mark_of(row.id, row.epoch));
    }
    Ok(())
}

/// Counts a heartbeat, and pauses everything where the database is behind what the worker remembers: it was
/// restored while the worker ran. Returns what to remember.
pub async fn beat(cx: &Context, memory: Option<Memory>) -> db::Result<Option<Memory>> {
    let now = cx.clock.now();
    let work = async |mut tx: Tx| {
        let beaten = db::installation_beat(&mut tx, now).await?;
        let found = beaten.map(|(id, epoch, beats)| Memory { id, epoch, beats });
        if let (Some(memory), Some(found)) = (memory, found)
            && memory.is_ahead_of(found)
        {
            halt(&mut tx, &Doubt::Behind, now).await?;
        }
        db::Result::Ok((tx, found))
    };
    let found = cx.db.transact(work).await?;
    if let Some(found) = found {
        cx.mark.set(mark_of(found.id, found.epoch));
    }
    Ok(found)
}
