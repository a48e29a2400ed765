//! What happens to a mail after a provider has it: the mail's status, an event, a capture, and the
//! result of a step that waits.

use chrono::{DateTime, Utc};
use hogsend_plugin_api::journey::Sent;
use hogsend_plugin_api::{BounceType, DeliveryEventKind, Properties};
use serde_json::{Value, json};

use super::fate::{Stage, bounce_name, is_handed_over};
use crate::context::Context;
use crate::db::{self, Conn, KnownSend, SendOrigin, SendProgress, SendStatus, StepEnd};
use crate::ids::SendId;
use crate::ingest::{OwnEvent, publish};

/// Something that happened to a mail after it was handed to a provider.
#[derive(Clone, Debug)]
pub struct MailEvent<'a> {
    pub send_id: SendId,
    pub kind: DeliveryEventKind,
    pub occurred_at: DateTime<Utc>,
    /// Details, for example a link or a bounce's reason.
    pub properties: Properties,
    /// The provider that reported it; None for our own links and images.
    pub provider: Option<&'a str>,
    /// The provider's id of the mail.
    pub message_id: Option<&'a str>,
    pub reason: Option<&'a str>,
    /// For a bounce: whether a later mail may arrive.
    pub bounce: Option<BounceType>,
}

impl MailEvent<'_> {
    pub fn new(send_id: SendId, kind: DeliveryEventKind, occurred_at: DateTime<Utc>) -> Self {
        Self {
            send_id,
            kind,
            occurred_at,
            properties: Properties::new(),
            provider: None,
            message_id: None,
            reason: None,
            bounce: None,
        }
    }
}

/// Moves the mail's status forward, stores `email.<kind>` as an event of the contact, which journeys
/// react to, and a capture for analytics, all in the caller's transaction. A mail in doubt is no longer
/// in doubt. Returns whether the mail exists.
pub async fn record(
    cx: &Context,
    conn: &mut Conn,
    event: MailEvent<'_>,
    now: DateTime<Utc>,
) -> db::Result<bool> {
    let ours = Some(event.send_id);
    let Some((id, _)) = db::send_find_locked(conn, ours, "", None).await? else {
        return Ok(false);
    };
    let Some(send) = db::send_lock(conn, id).await? else {
        return Ok(false);
    };
    let before = Stage::new(send.status, send.bounce_type.as_deref());
    let after = before.after(event.kind, event.bounce);
    let known = send.in_doubt || !is_handed_over(before);
    let news = match event.kind {
        // Our own attempt reported it, unless its answer was lost.
        DeliveryEventKind::Sent => known,
        DeliveryEventKind::Delivered => send.delivered_at.is_none(),
        // If consent changes, that change stores the event.
        DeliveryEventKind::Unsubscribed => false,
        _ => true,
    };
    let status = after.status;
    db::send_progress(conn, id, progress(&event, (before, after), known), now).await?;
    if let (true, Some(state), Some(seq)) = (send.in_doubt, send.state_id, send.step_seq) {
        let end = StepEnd {
            state,
            seq,
            result: Ok(step_result(&send, status, event.reason)),
        };
        db::steps_complete(conn, &[end], now).await?;
    }
    if news {
        let about = About::of(&send);
        let origins = db::send_origins(conn, send.state_id.as_slice()).await?;
        let origin = send.state_id.and_then(|state| origins.get(&state));
        let own = OwnEvent {
            contact: send.contact_id,
            name: match event.kind {
                DeliveryEventKind::Bounced => bounce_event(event.bounce),
                kind => name(kind),
            },
            properties: about.properties(origin, event.properties),
            occurred_at: event.occurred_at,
            depth: origin.map_or(0, |run| run.depth),
        };
        publish(conn, &cx.catalog(), vec![own], now).await?;
    }
    Ok(true)
}

/// What changes about the mail. `known`: the provider is known to have it from now on, and was not
/// before.
fn progress<'a>(
    event: &MailEvent<'a>,
    (before, after): (Stage, Stage),
    known: bool,
) -> SendProgress<'a> {
    let at = |kind| (event.kind == kind).then_some(event.occurred_at);
    // A passing bounce of a mail that arrived, such as an absence note, does not concern the mail.
    let bounced = event.bounce == Some(BounceType::Permanent)
        || after.status == SendStatus::Bounced && before != after;
    SendProgress {
        status: after.status,
        bounce_type: (after != before)
            .then_some(event.bounce.filter(|_| after.status == SendStatus::Bounced))
            .flatten()
            .map(bounce_name),
        forgets_bounce: before.soft && !after.soft && after.status != SendStatus::Bounced,
        reason: event.reason,
        message_id: event.message_id,
        settled: known,
        sent_at: at(DeliveryEventKind::Sent).or(known.then_some(event.occurred_at)),
        delivered_at: at(DeliveryEventKind::Delivered),
        opened_at: at(DeliveryEventKind::Opened),
        clicked_at: at(DeliveryEventKind::Clicked),
        bounced_at: at(DeliveryEventKind::Bounced).filter(|_| bounced),
        complained_at: at(DeliveryEventKind::Complained),
    }
}

/// The result of the step that waits for a mail in doubt.
fn step_result(send: &KnownSend, status: SendStatus, reason: Option<&str>) -> Value {
    let id = send.id.into();
    json!(match status {
        SendStatus::Failed => Sent::failed(id, reason.unwrap_or("failed").to_owned()),
        _ => Sent::accepted(id),
    })
}

/// What an event says about its mail.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    pub id: SendId,
    pub template_key: &'a str,
    pub category: &'a str,
}

impl<'a> About<'a> {
    fn of(send: &'a KnownSend) -> Self {
        Self {
            id: send.id,
            template_key: &send.template_key,
            category: &send.category,
        }
    }

    /// Without address and subject: the event leaves this installation.
    pub fn properties(&self, origin: Option<&SendOrigin>, more: Properties) -> Properties {
        let mut all = more;
        all.insert("emailSendId".into(), json!(self.id));
        all.insert("templateKey".into(), json!(self.template_key));
        all.insert("category".into(), json!(self.category));
        if let Some(run) = origin {
            all.insert("journeyId".into(), json!(run.journey_id));
        }
        all
    }
}

/// The name of the event.
pub fn name(kind: DeliveryEventKind) -> &'static str {
    match kind {
        DeliveryEventKind::Sent => "email.sent",
        DeliveryEventKind::Delayed => "email.delivery_delayed",
        DeliveryEventKind::Delivered => "email.delivered",
        DeliveryEventKind::Opened => "email.opened",
        DeliveryEventKind::Clicked => "email.clicked",
        DeliveryEventKind::Bounced => "email.bounced",
        DeliveryEventKind::Complained => "email.complained",
        DeliveryEventKind::Failed => "email.failed",
        DeliveryEventKind::Suppressed => "email.suppressed",
        DeliveryEventKind::Unsubscribed => "email.unsubscribed",
        _ => "email.other",
    }
}

/// The name of the event of a bounce: only a permanent one means that the address does not exist.
pub fn bounce_event(bounce: Option<BounceType>) -> &'static str {
    match bounce {
        Some(BounceType::Permanent) => "email.bounced",
        _ => "email.soft_bounced",
    }
}
