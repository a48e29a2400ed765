//! Cancels mails that wait to be sent, at the request of an administrator.

use std::time::Duration;

use hogsend_plugin_api::journey::Sent;
use serde_json::json;
use tokio::time::Instant;

use crate::audit::{Actor, Change, Refused, audit};
use crate::context::Context;
use crate::db::{self, StepEnd, Topic, Tx, Waiting};
use crate::ids::SendId;

/// The reason of the skipped mails, which their journeys see too.
const CANCELLED: &str = "cancelled";
/// Mails cancelled in one transaction.
const TOGETHER: i64 = 200;
/// How long new transactions may begin, so that a request is answered before it times out.
const BEGINNING: Duration = Duration::from_secs(10);

/// What became of a request to cancel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cancelled {
    pub cancelled: usize,
    /// There was no time for all of them: ask again.
    pub more: bool,
}

/// Cancels mails that wait. An attempt that has begun is finished, and a mail in doubt is not touched. Steps
/// that wait for a cancelled mail see it as skipped.
///
/// # Errors
/// Without a filter it is refused. If the database fails, some may have been cancelled.
pub async fn cancel(cx: &Context, actor: &Actor, waiting: &Waiting) -> Result<Cancelled, Refused> {
    let Waiting {
        journey,
        template,
        category,
        since,
        until,
    } = waiting;
    if journey.is_none() && template.is_none() && category.is_none() && until.is_none() {
        let message = "or template, category or until is required: name which mails to cancel";
        return Err(Refused::invalid("journey", message));
    }
    // Before the first of many transactions, so that none goes unrecorded.
    let asked = json!({ "journey": journey, "template": template, "category": category,
                        "since": since, "until": until });
    let now = cx.clock.now();
    {
        let mut conn = cx.db.conn().await?;
        let change = Change::created(asked);
        audit(
            &mut conn,
            actor,
            "email.cancel",
            ("email", "queued"),
            change,
            now,
        )
        .await?;
    }
    let begun = Instant::now();
    let mut all = Cancelled::default();
    loop {
        let found = {
            let mut conn = cx.db.conn().await?;
            db::sends_waiting(&mut conn, waiting, TOGETHER).await?
        };
        let cancelled = cx.db.transact(|tx| cancel_in(cx, tx, &found)).await?;
        // None are left, or attempts at all of them have begun meanwhile.
        if cancelled == 0 {
            return Ok(all);
        }
        all.cancelled += cancelled;
        if begun.elapsed() > BEGINNING {
            all.more = true;
            return Ok(all);
        }
    }
}

async fn cancel_in(cx: &Context, mut tx: Tx, ids: &[SendId]) -> db::Result<(Tx, usize)> {
    let now = cx.clock.now();
    db::sends_owners_lock(&mut tx, ids).await?;
    let ended = db::sends_cancel(&mut tx, ids, CANCELLED, now).await?;
    let result = json!(Sent::skipped(CANCELLED));
    let steps = ended.iter().filter_map(|row| {
        let (state, seq) = row.state_id.zip(row.step_seq)?;
        Some(StepEnd {
            state,
            seq,
            result: Ok(result.clone()),
        })
    });
    let steps: Vec<StepEnd> = steps.collect();
    db::steps_complete(&mut tx, &steps, now).await?;
    db::stir(Topic::Runs);
    Ok((tx, ended.len()))
}
