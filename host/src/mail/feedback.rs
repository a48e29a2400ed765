//! Providers' reports about mails: the status of a mail, and addresses to suppress.

use chrono::{DateTime, TimeDelta, Utc};
use hogsend_plugin_api::{BounceType, DeliveryEvent, DeliveryEventKind as Kind, Properties};
use serde_json::{Value, json};

use super::recipient::addressee;
use super::status::{self, MailEvent};
use crate::contacts;
use crate::contacts::consent::{Book, Decision, Grounds, Reach, Source, Subject};
use crate::context::Context;
use crate::db::{self, Conn, NewMailEvent, Tx};
use crate::ids::{self, ContactId, EventId, SendId};
use crate::ingest;
use crate::restore::{self, Ahead};
use crate::telemetry::metrics::MAIL_FEEDBACK;

/// How long an open or a click waits before it is judged: clicks that follow may show a machine.
pub const SETTLE: TimeDelta = TimeDelta::seconds(5);
/// How far ahead a provider's clock may be; a later time is taken as now.
const AHEAD_MAX: TimeDelta = TimeDelta::hours(1);

/// Stores one report of a provider and everything that follows from it in one transaction. The same
/// report a second time changes nothing. Returns whether it was new.
pub async fn take(cx: &Context, provider: &str, event: &DeliveryEvent) -> db::Result<bool> {
    let now = cx.clock.now();
    let occurred_at = match event.occurred_at {
        at if at > now + AHEAD_MAX => now,
        at => at,
    };
    let work = |tx| take_in(cx, tx, provider, event, occurred_at, now);
    let taken = cx.db.transact(work).await?;
    if taken.is_new {
        MAIL_FEEDBACK.add(&[provider, kind(event.kind)], 1);
    }
    if let Some(ahead) = taken.ahead {
        restore::reported(cx, ahead).await?;
    }
    Ok(taken.is_new)
}

/// What became of a report.
#[derive(Default)]
struct Taken {
    is_new: bool,
    /// It is about a mail that this ledger cannot have sent.
    ahead: Option<Ahead>,
}

async fn take_in(
    cx: &Context,
    mut tx: Tx,
    provider: &str,
    event: &DeliveryEvent,
    occurred_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> db::Result<(Tx, Taken)> {
    if let Some(key) = &event.dedupe_key {
        let id = EventId::new(now);
        let source = format!("email:{provider}");
        let fresh = db::event_key_claim(&mut tx, vec![(&source, key, id)], now).await?;
        if fresh.is_empty() {
            return Ok((tx, Taken::default()));
        }
    }
    let ours = event.send_id.map(SendId);
    let message = event.message_id.as_deref();
    if event.kind == Kind::Unsubscribed
        && let Some((send, contact)) = db::send_find(&mut tx, ours, provider, message).await?
    {
        // This locks all contacts with the mailbox, so it comes before the lock of one contact.
        unsubscribe(cx, &mut tx, provider, send, contact, now).await?;
    }
    let found = db::send_find_locked(&mut tx, ours, provider, message).await?;
    let known = found.map(|(send, _)| send);
    let ahead = restore::ahead(&mut tx, ours, known).await?;
    if let Some((send, contact)) = found {
        note(cx, &mut tx, provider, event, send, occurred_at, now).await?;
        if event.kind == Kind::Bounced && event.bounce != Some(BounceType::Permanent) {
            db::preferences_count_bounce(&mut tx, contact, now).await?;
        }
    }
    // The suppression concerns the address, even if the mail is not ours.
    if let (Some(reason), Some(email)) = (suppresses(event), &event.email) {
        let mailbox = cx.addresses.mailbox(email);
        let words = (Some(provider), event.reason.as_deref());
        contacts::suppress(&mut tx, &mailbox, reason, words, now).await?;
        tracing::info!(provider, reason, "an address is suppressed");
    }
    let is_new = true;
    Ok((tx, Taken { is_new, ahead }))
}

/// Why the report suppresses the address.
fn suppresses(event: &DeliveryEvent) -> Option<&'static str> {
    match event.kind {
        Kind::Bounced if event.bounce == Some(BounceType::Permanent) => Some("bounced"),
        Kind::Complained => Some("complained"),
        _ => None,
    }
}

/// Adds the report to the mail's history and moves its status. The status follows opens and clicks
/// only after they are judged.
async fn note(
    cx: &Context,
    conn: &mut Conn,
    provider: &str,
    event: &DeliveryEvent,
    send: SendId,
    occurred_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> db::Result<()> {
    let judged_later = matches!(event.kind, Kind::Opened | Kind::Clicked);
    let row = NewMailEvent {
        id: ids::at(now),
        send_id: send,
        kind: kind(event.kind),
        occurred_at,
        provider: Some(provider.to_owned()),
        detail: detail(event),
        settle_at: judged_later.then(|| now + SETTLE),
    };
    db::mail_event_insert(conn, &row, now).await?;
    if judged_later {
        return Ok(());
    }
    let mut report = MailEvent::new(send, event.kind, occurred_at);
    report.provider = Some(provider);
    report.message_id = event.message_id.as_deref();
    report.reason = event.reason.as_deref();
    report.bounce = event.bounce;
    report.properties = properties(event);
    status::record(cx, conn, report, now).await?;
    Ok(())
}

/// The recipient used the provider's own link: their mailbox leaves the mail's category.
async fn unsubscribe(
    cx: &Context,
    conn: &mut Conn,
    provider: &str,
    send: SendId,
    contact: ContactId,
    now: DateTime<Utc>,
) -> db::Result<()> {
    let Some((category, to)) = db::send_target(conn, send).await? else {
        return Ok(());
    };
    let subject = addressee(cx, conn, contact, &to).await?;
    let decision = Decision::Category {
        id: category,
        subscribed: false,
    };
    let wording = format!("unsubscribe reported by {provider}");
    let grounds = Grounds::new(Source::Provider, wording);
    // The mail's contact is locked too, although the mail may have gone to another mailbox.
    let subjects = [subject, Subject::contact(contact)];
    let mut book = Book::open(conn, Some(&cx.addresses), &subjects, Reach::Everybody).await?;
    book.decide(cx.catalog().lists(), &subjects[0], &[decision], &grounds);
    let events = book.write(conn, now).await?;
    if !events.is_empty() {
        ingest::store(
            conn,
            &cx.catalog(),
            now,
            events.into_iter().map(Into::into).collect(),
        )
        .await?;
    }
    Ok(())
}

/// The name of the event in the mail's history.
fn kind(kind: Kind) -> &'static str {
    let name = status::name(kind);
    name.strip_prefix("email.").unwrap_or(name)
}

fn detail(event: &DeliveryEvent) -> Value {
    let mut all = properties(event);
    if let Some(agent) = &event.user_agent {
        all.insert("userAgent".into(), json!(agent));
    }
    Value::Object(all)
}

fn properties(event: &DeliveryEvent) -> Properties {
    let mut all = Properties::new();
    if let Some(bounce) = event.bounce {
        all.insert("bounceType".into(), json!(bounce));
    }
    if let Some(reason) = &event.reason {
        all.insert("reason".into(), json!(reason));
    }
    if let Some(link) = &event.link {
        all.insert("url".into(), json!(link));
    }
    all
}
