//! What providers tell of mails: their status, and addresses that are to get no more.

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

/// How long an open or a click waits for what comes after it, which may show that a machine did it.
pub const SETTLE: TimeDelta = TimeDelta::seconds(5);
/// Clocks differ by this much at most; a later time is a mistake.
const AHEAD_MAX: TimeDelta = TimeDelta::hours(1);

/// Takes in one thing a provider told. Everything it leads to is one transaction, and the same
/// message a second time changes nothing. Returns whether it was new.
pub async fn take(cx: &Context, provider: &str, event: &DeliveryEvent) -> db::Result<bool> {
    let now = cx.clock.now();
    let occurred_at = match event.occurred_at {
        at if at > now + AHEAD_MAX => now,
        at => at,
    };
    let work = |tx| take_in(cx, tx, provider, event, occurred_at, now);
    cx.db.transact(work).await
}

async fn take_in(
    cx: &Context,
    mut tx: Tx,
    provider: &str,
    event: &DeliveryEvent,
    occurred_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> db::Result<(Tx, bool)> {
    if let Some(key) = &event.dedupe_key {
        let id = EventId::new(now);
        let source = format!("email:{provider}");
        let fresh = db::event_key_claim(&mut tx, vec![(&source, key, id)], now).await?;
        if fresh.is_empty() {
            return Ok((tx, false));
        }
    }
    let ours = event.send_id.map(SendId);
    let message = event.message_id.as_deref();
    if event.kind == Kind::Unsubscribed
        && let Some((send, contact)) = db::send_find(&mut tx, ours, provider, message).await?
    {
        // Locks everybody who holds the mailbox, so it comes before the lock of one contact.
        unsubscribe(cx, &mut tx, provider, send, contact, now).await?;
    }
    let found = db::send_find_locked(&mut tx, ours, provider, message).await?;
    if let Some((send, contact)) = found {
        note(cx, &mut tx, provider, event, send, occurred_at, now).await?;
        if event.kind == Kind::Bounced && event.bounce != Some(BounceType::Permanent) {
            db::preferences_count_bounce(&mut tx, contact, now).await?;
        }
    }
    // An address that is dead or complains is so whoever wrote to it.
    if let (Some(reason), Some(email)) = (suppresses(event), &event.email) {
        let mailbox = cx.addresses.mailbox(email);
        let words = (Some(provider), event.reason.as_deref());
        contacts::suppress(&mut tx, &mailbox, reason, words, now).await?;
        tracing::info!(provider, reason, "an address gets no more mail");
    }
    Ok((tx, true))
}

/// Why the address gets no more mail after this.
fn suppresses(event: &DeliveryEvent) -> Option<&'static str> {
    match event.kind {
        Kind::Bounced if event.bounce == Some(BounceType::Permanent) => Some("bounced"),
        Kind::Complained => Some("complained"),
        _ => None,
    }
}

/// Writes the mail's history and moves its status. Opens and clicks are judged first.
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
    let mut told = MailEvent::new(send, event.kind, occurred_at);
    told.provider = Some(provider);
    told.message_id = event.message_id.as_deref();
    told.reason = event.reason.as_deref();
    told.bounce = event.bounce;
    told.properties = properties(event);
    status::record(cx, conn, told, now).await?;
    Ok(())
}

/// The person used the provider's own link: their mailbox leaves the category of that mail.
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
    // The mail's contact is locked with the others, though the mail may have gone to somebody else.
    let subjects = [subject, Subject::contact(contact)];
    let mut book = Book::open(conn, Some(&cx.addresses), &subjects, Reach::Everybody).await?;
    book.decide(cx.catalog.lists(), &subjects[0], &[decision], &grounds);
    let events = book.write(conn, now).await?;
    if !events.is_empty() {
        ingest::store(
            conn,
            &cx.catalog,
            now,
            events.into_iter().map(Into::into).collect(),
        )
        .await?;
    }
    Ok(())
}

/// The word for it in the mail's history.
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
