//! Writes the state of mails and what follows from it: step results, events, webhooks and
//! suppressions, all in the caller's transaction.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use hogsend_plugin_api::journey::Sent;
use hogsend_plugin_api::{BounceType, Properties};
use serde_json::json;

use super::Standing;
use crate::contacts;
use crate::context::Context;
use crate::db::{self, ClaimedSend, Conn, EndedSend, SendEnd, SendStatus, StepEnd, Topic};
use crate::ids::{BatchId, Claim, SendId, StateId};
use crate::ingest::{OwnEvent, publish};
use crate::mail::status::{About, bounce_event};
use crate::webhooks::{News, announce};

/// The new state of a mail.
#[derive(Clone, Debug)]
pub struct Settled<'a> {
    pub send: &'a ClaimedSend,
    /// The caller's claim on the mail; None for a member of a batch that it holds.
    pub claim: Option<Claim>,
    /// The number of the attempt and its outcome; None if there was no attempt.
    pub attempt: Option<(i32, &'static str)>,
    pub standing: Standing,
}

impl<'a> Settled<'a> {
    /// A decision without an attempt.
    pub fn decided(send: &'a ClaimedSend, standing: Standing) -> Self {
        Self {
            send,
            claim: send.claim,
            attempt: None,
            standing,
        }
    }
}

/// Writes the state of mails, completes the steps that wait for them, stores events, announces them to
/// webhooks, and suppresses addresses that do not exist. A mail whose claim was lost is not changed.
/// The caller has locked the contacts that the mails belong to now.
pub async fn settle(
    cx: &Context,
    conn: &mut Conn,
    provider: Option<&str>,
    batch: Option<BatchId>,
    settled: &[Settled<'_>],
    now: DateTime<Utc>,
) -> db::Result<()> {
    if settled.is_empty() {
        return Ok(());
    }
    let rows: Vec<SendEnd> = settled
        .iter()
        .map(|one| one.standing.row(one.send, one.claim, one.attempt))
        .collect();
    let held: HashMap<SendId, EndedSend> = db::sends_end(conn, batch, &rows, now)
        .await?
        .into_iter()
        .map(|one| (one.id, one))
        .collect();
    let ours: Vec<Ours<'_>> = settled
        .iter()
        .filter_map(|one| Some((one, *held.get(&one.send.id)?)))
        .collect();

    complete_steps(conn, &ours, now).await?;
    suppress_bounced(cx, conn, provider, &ours, now).await?;
    report(cx, conn, &ours, now).await?;
    let due = |row: &SendEnd| row.retry_at.is_some_and(|at| at <= now);
    if rows.iter().any(due) {
        db::stir(Topic::Mails);
    }
    Ok(())
}

/// A mail that the caller still held, with its row.
type Ours<'a> = (&'a Settled<'a>, EndedSend);

async fn complete_steps(conn: &mut Conn, ours: &[Ours<'_>], now: DateTime<Utc>) -> db::Result<()> {
    let steps: Vec<StepEnd> = ours
        .iter()
        .filter_map(|(one, row)| step(one, row))
        .collect();
    if !steps.is_empty() {
        db::steps_complete(conn, &steps, now).await?;
        db::stir(Topic::Runs);
    }
    Ok(())
}

/// Suppresses addresses that do not exist, and counts the other bounces.
async fn suppress_bounced(
    cx: &Context,
    conn: &mut Conn,
    provider: Option<&str>,
    ours: &[Ours<'_>],
    now: DateTime<Utc>,
) -> db::Result<()> {
    for (one, row) in ours {
        let Standing::Bounced { reason, bounce } = &one.standing else {
            continue;
        };
        if *bounce == BounceType::Permanent {
            let mailbox = cx.addresses.mailbox(&one.send.mail.to);
            let words = (provider, Some(reason.as_str()));
            contacts::suppress(conn, &mailbox, "bounced", words, now).await?;
            tracing::info!(email_id = %row.id, "an address is suppressed: it does not exist");
        } else {
            db::preferences_count_bounce(conn, row.contact_id, now).await?;
        }
    }
    Ok(())
}

/// Stores an event for each mail that was sent or bounced, and announces failed ones to webhooks.
async fn report(
    cx: &Context,
    conn: &mut Conn,
    ours: &[Ours<'_>],
    now: DateTime<Utc>,
) -> db::Result<()> {
    let runs: Vec<StateId> = ours.iter().filter_map(|(_, row)| row.state_id).collect();
    let origins = db::send_origins(conn, &runs).await?;
    let mut own = Vec::new();
    let mut news = Vec::new();
    for (one, row) in ours {
        let origin = row.state_id.and_then(|state| origins.get(&state));
        let about = About {
            id: row.id,
            template_key: &one.send.template_key,
            category: &one.send.category,
        };
        let mut more = Properties::new();
        if let Some(reason) = one.standing.reason() {
            more.insert("reason".into(), json!(reason));
        }
        let name = match &one.standing {
            Standing::Sent { .. } => "email.sent",
            Standing::Bounced { bounce, .. } => {
                more.insert("bounceType".into(), json!(bounce));
                bounce_event(Some(*bounce))
            }
            Standing::Over {
                status: SendStatus::Failed,
                ..
            } => {
                // Not an event: the journey gets it as the result of its step.
                news.push(News {
                    event_type: "email.failed",
                    contact: row.contact_id,
                    occurred_at: now,
                    data: about.properties(origin, more),
                });
                continue;
            }
            _ => continue,
        };
        own.push(OwnEvent {
            contact: row.contact_id,
            name,
            properties: about.properties(origin, more),
            occurred_at: now,
            depth: origin.map_or(0, |run| run.depth),
        });
    }
    announce(conn, &news, now).await?;
    if !own.is_empty() {
        [Topic::Runs, Topic::Captures]
            .into_iter()
            .for_each(db::stir);
        publish(conn, &cx.catalog(), own, now).await?;
    }
    Ok(())
}

/// The result of the step that waits for the mail; None while another attempt follows.
fn step(settled: &Settled<'_>, row: &EndedSend) -> Option<StepEnd> {
    let id = row.id.into();
    let result = match &settled.standing {
        Standing::Waits { .. } | Standing::Doubtful { .. } | Standing::Alone { .. } => return None,
        Standing::Sent { .. } => Sent::accepted(id),
        Standing::Over {
            status: SendStatus::Skipped,
            reason,
        } => Sent::skipped(reason.clone()),
        Standing::Over { reason, .. } | Standing::Bounced { reason, .. } => {
            Sent::failed(id, reason.clone())
        }
    };
    let (state, seq) = row.state_id.zip(row.step_seq)?;
    Some(StepEnd {
        state,
        seq,
        result: Ok(json!(result)),
    })
}
