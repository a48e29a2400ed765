//! Changes of consent, with the events that follow from them.

use chrono::{DateTime, Utc};

use super::store;
use crate::contacts::consent::{Book, Decision, Grounds, Outcome, Reach, Subject};
use crate::context::Context;
use crate::db::{self, Conn, Tx};

/// Applies decisions in a transaction of its own, and reports them to journeys, analytics and webhooks.
/// Returns the result of each.
pub async fn change_consent(
    cx: &Context,
    subject: &Subject,
    decisions: &[Decision],
    grounds: &Grounds<'_>,
) -> db::Result<Vec<Outcome>> {
    let now = cx.clock.now();
    let work = async |mut tx: Tx| {
        let outcomes = decide_consent(cx, &mut tx, subject, decisions, grounds, now).await?;
        Ok((tx, outcomes))
    };
    cx.db.transact(work).await
}

/// Like [`change_consent`], in the caller's transaction. That transaction may hold no locks of contacts
/// except those of [`lock`](crate::contacts::consent::lock).
pub async fn decide_consent(
    cx: &Context,
    conn: &mut Conn,
    subject: &Subject,
    decisions: &[Decision],
    grounds: &Grounds<'_>,
    now: DateTime<Utc>,
) -> db::Result<Vec<Outcome>> {
    let subjects = std::slice::from_ref(subject);
    let mut book = Book::open(conn, Some(&cx.addresses), subjects, Reach::Everybody).await?;
    let outcomes = book.decide(cx.catalog.lists(), subject, decisions, grounds);
    let events = book.write(conn, now).await?;
    if !events.is_empty() {
        let events = events.into_iter().map(Into::into).collect();
        store(conn, &cx.catalog, now, events).await?;
    }
    Ok(outcomes)
}
