//! Mail: a task of Hatchet for each request to a provider. A task claims what is due when it begins, so a task too
//! many finds nothing, and Postgres keeps the provider's rate as always.
//!
//! The loop that otherwise claims mails offers tasks in its place. Where Hatchet is away, or starts no tasks for ten
//! seconds, the loop claims the mails itself.

use hogsend_hatchet::{Normal, Trigger};
use serde_json::{Map, Value, json};

use super::offers::SEND_EMAIL;
use super::tasks::Tasks;
use super::{Hatchet, PATIENCE};
use crate::app::App;
use crate::db::{self, Topic};
use crate::mail::{self, Lane};

/// Offers tasks for at most `free` requests. False where the caller has to make the requests itself.
pub async fn offer(engine: &Hatchet, app: &App, lane: Lane, free: usize) -> db::Result<bool> {
    let offers = engine.offers.of(lane);
    let now = app.clock.now();
    let due = mail::next_due(app, lane).await?.filter(|due| *due <= now);
    let late = now - app.clock.moves(PATIENCE);
    let Some(due) = due else {
        return Ok(!offers.idle());
    };
    if !(engine.is_ready() && engine.is_there()) || (offers.are_ignored() && due < late) {
        return Ok(false);
    }
    let wanted = mail::requests_due(app, lane, free).await?;
    let count = wanted.saturating_sub(offers.open());
    if count == 0 {
        return Ok(true);
    }
    let input = Map::from_iter([("lane".to_owned(), Value::from(lane_name(lane)))]);
    let trigger = Trigger::new(SEND_EMAIL, input);
    let triggers = vec![trigger; count];
    let offered = tokio::time::timeout(PATIENCE, engine.client.trigger_many(&triggers));
    match offered.await {
        Ok(Ok(_)) => {
            offers.add(count);
            return Ok(true);
        }
        Ok(Err(error)) => tracing::debug!(%error, "mail is sent without Hatchet"),
        Err(_) => tracing::debug!("Hatchet does not answer, mail is sent without it"),
    }
    Ok(false)
}

fn lane_name(lane: Lane) -> &'static str {
    match lane {
        Lane::All => "all",
        Lane::Urgent => "urgent",
    }
}

impl Tasks {
    /// Claims what is due for one request, and makes it.
    pub(super) async fn send(&self, task: &Normal) -> Value {
        let lane = match task.input.get("lane").and_then(Value::as_str) {
            Some("urgent") => Lane::Urgent,
            _ => Lane::All,
        };
        self.offers.of(lane).took();
        // Mails that were claimed before the database failed are due again when their lease expires.
        let claimed = self
            .patiently(|| {
                let app = self.app.clone();
                async move { deliver(&app, lane).await }
            })
            .await;
        if claimed > 0 {
            // There may be more.
            self.app.db.wake().nudge(Topic::Mails);
        }
        json!({ "claimed": claimed })
    }
}

/// Makes one request, or those that one claim finds. Returns how many mails and batches were claimed.
async fn deliver(app: &App, lane: Lane) -> db::Result<usize> {
    if app.halt.lasts(&app.db).await? {
        return Ok(0);
    }
    let (deliveries, claimed) = mail::claim(app, 1, lane).await?;
    let all = deliveries.into_iter().map(|one| mail::perform(app, one));
    for done in futures_util::future::join_all(all).await {
        done?;
    }
    Ok(claimed)
}
