//! Records the advances of a worker, those that come at the same time together: a transaction of many costs little more
//! than a transaction of one.

use std::sync::Arc;

use tokio::sync::oneshot;
use uuid::Uuid;

use super::record::{Outcome, alone, record};
use super::standing::Standing;
use crate::context::Context;
use crate::db;
use crate::rounds::{Part, Rounds};

/// Transactions at the same time.
const AT_ONCE: usize = 2;
/// The most advances in one: their contacts are locked until it is committed.
const SIZE: usize = 32;

pub struct Recorder {
    rounds: Rounds<Waiting>,
}

/// An advance that waits to be recorded.
struct Waiting {
    outcome: Arc<Outcome>,
    recorded: oneshot::Sender<Standing>,
}

impl Part for Waiting {
    /// What comes of one run may change another one of the same contact.
    fn subject(&self) -> Uuid {
        self.outcome.state.contact_id.into()
    }
}

impl Default for Recorder {
    fn default() -> Self {
        Self {
            rounds: Rounds::new(AT_ONCE, SIZE),
        }
    }
}

impl Recorder {
    /// Records an advance; see [`record`].
    pub async fn record(&self, cx: &Context, outcome: Outcome) -> db::Result<Standing> {
        let outcome = Arc::new(outcome);
        // Events of a journey may be about anybody, also about contacts of the same round.
        if outcome.effects.events.is_empty() {
            let (recorded, done) = oneshot::channel();
            let waiting = Waiting {
                outcome: outcome.clone(),
                recorded,
            };
            let cx = cx.clone();
            let round = move |waiting| round(cx.clone(), waiting);
            self.rounds.add(waiting, round);
            if let Ok(standing) = done.await {
                return Ok(standing);
            }
            // Something in the round could not be recorded. Each for itself finds out whether it was that.
        }
        alone(cx, &outcome).await
    }
}

async fn round(cx: Context, waiting: Vec<Waiting>) {
    let outcomes: Vec<&Outcome> = waiting.iter().map(|one| &*one.outcome).collect();
    match cx.db.transact(|tx| record(&cx, tx, &outcomes)).await {
        Ok(standings) => {
            for (one, standing) in waiting.into_iter().zip(standings) {
                // Nobody waits where the advance was cancelled.
                let _ = one.recorded.send(standing);
            }
        }
        Err(error) => {
            tracing::debug!(%error, runs = waiting.len(), "advances are recorded one by one");
        }
    }
}
