//! Delivers due mails.

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use super::poll::{self, Work};
use crate::app::App;
use crate::db::{self, ClaimedBatch, ClaimedSend, Topic};
use crate::ids::{BatchId, Claim, SendId};
use crate::mail::{deliver, repeat_batch};

/// Mails claimed at once where the provider takes no larger batches: what can be attempted well
/// within a lease.
const BATCH: u32 = 16;
/// How many requests are prepared and sent side by side: one to a provider takes longer than its
/// rate allows between two.
const PLACES: usize = 4;

/// Asks again about batches in doubt, and attempts due mails. Returns how many of both there were.
pub async fn deliver_due(app: &App) -> db::Result<usize> {
    poll::once(Mails::new(app)).await
}

pub(super) struct Mails {
    app: App,
}

impl Mails {
    pub(super) fn new(app: &App) -> Self {
        Self { app: app.clone() }
    }

    /// How many mails one place takes.
    fn most(&self) -> u32 {
        let batches = self.app.plugins.deliveries();
        batches
            .first()
            .map_or(BATCH, |one| one.capabilities().batch_max.max(BATCH))
    }
}

/// What one place works on.
pub(super) enum Turn {
    /// A request whose answer was lost.
    Again(ClaimedBatch),
    Mails(Vec<ClaimedSend>),
}

/// What it takes to give a turn back.
#[derive(Clone)]
pub(super) enum Ticket {
    Batch(BatchId, Claim),
    Mails(Vec<(SendId, Claim)>),
}

impl Work for Mails {
    type Item = Turn;
    type Ticket = Ticket;

    const NAME: &'static str = "mails";
    const TOPIC: Option<Topic> = Some(Topic::Mails);
    // A provider may have what was broken off.
    const REPEATABLE: bool = false;

    fn app(&self) -> &App {
        &self.app
    }

    fn places(&self) -> usize {
        PLACES
    }

    async fn claim(&self, room: usize) -> db::Result<Vec<Turn>> {
        let now = self.app.clock.now();
        let lease_until = now + self.app.config.lease;
        let mut conn = self.app.db.conn().await?;
        let mut turns = Vec::new();
        while turns.len() < room
            && let Some(batch) = db::batch_claim(&mut conn, now, lease_until).await?
        {
            turns.push(Turn::Again(batch));
        }
        let most = self.most();
        while turns.len() < room {
            let sends = db::send_claim(&mut conn, now, lease_until, most.into()).await?;
            let last = sends.len() < most as usize;
            if !sends.is_empty() {
                turns.push(Turn::Mails(sends));
            }
            if last {
                break;
            }
        }
        Ok(turns)
    }

    async fn next_due(&self) -> db::Result<Option<DateTime<Utc>>> {
        let mut conn = self.app.db.conn().await?;
        db::send_next_due(&mut conn).await
    }

    async fn perform(&self, turn: Turn, _: &CancellationToken) -> db::Result<()> {
        let done = match turn {
            Turn::Again(batch) => repeat_batch(&self.app, batch).await,
            Turn::Mails(sends) => deliver(&self.app, sends).await,
        };
        if let Err(error) = &done {
            tracing::error!(%error, "mails could not be attempted, they are due again after their lease");
        }
        done
    }

    fn ticket(turn: &Turn) -> Ticket {
        match turn {
            Turn::Again(batch) => Ticket::Batch(batch.id, batch.claim),
            Turn::Mails(sends) => Ticket::Mails(
                sends
                    .iter()
                    .filter_map(|send| Some((send.id, send.claim?)))
                    .collect(),
            ),
        }
    }

    async fn give_back(&self, tickets: Vec<Ticket>) -> db::Result<()> {
        let now = self.app.clock.now();
        let mut conn = self.app.db.conn().await?;
        for ticket in tickets {
            match ticket {
                Ticket::Batch(id, claim) => {
                    db::batch_give_back(&mut conn, id, claim, now).await?;
                }
                Ticket::Mails(sends) => db::sends_give_back(&mut conn, &sends, now).await?,
            }
        }
        Ok(())
    }
}
