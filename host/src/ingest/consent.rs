//! Changes of consent, with the events that follow from them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::store;
use crate::audit::{Actor, Change, Refused, audit};
use crate::contacts::consent::{Book, Decision, Grounds, Outcome, Reach, Source, Subject, lock};
use crate::contacts::{self, MailPreferences, contact_at, mail_preferences};
use crate::context::Context;
use crate::db::{self, Conn, Topic, Tx};

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
/// except those of [`lock`].
async fn decide_consent(
    cx: &Context,
    conn: &mut Conn,
    subject: &Subject,
    decisions: &[Decision],
    grounds: &Grounds<'_>,
    now: DateTime<Utc>,
) -> db::Result<Vec<Outcome>> {
    let subjects = std::slice::from_ref(subject);
    let mut book = Book::open(conn, Some(&cx.addresses), subjects, Reach::Everybody).await?;
    let outcomes = book.decide(cx.catalog().lists(), subject, decisions, grounds);
    let events = book.write(conn, now).await?;
    if !events.is_empty() {
        let events = events.into_iter().map(Into::into).collect();
        store(conn, &cx.catalog(), now, events).await?;
    }
    Ok(outcomes)
}

/// What an administrator sets of a contact's preferences; `None` keeps the present value.
#[derive(Clone, Debug, Default)]
pub struct PreferencesChange {
    pub unsubscribed_all: Option<bool>,
    /// False removes the address from the suppression list, whatever the reason.
    pub suppressed: Option<bool>,
    /// Replaces the whole map.
    pub categories: Option<BTreeMap<String, bool>>,
}

/// Changes the preferences of a contact, and of every other contact with the same address. Returns them as
/// they are now.
pub async fn set_preferences(
    cx: &Context,
    actor: &Actor,
    name: &str,
    wanted: &PreferencesChange,
) -> Result<MailPreferences, Refused> {
    let now = cx.clock.now();
    let work = async |mut tx: Tx| {
        let after = set_preferences_in(cx, &mut tx, actor, (name, wanted), now).await?;
        Ok::<_, Refused>((tx, after))
    };
    cx.db.transact(work).await
}

async fn set_preferences_in(
    cx: &Context,
    tx: &mut Tx,
    actor: &Actor,
    (name, wanted): (&str, &PreferencesChange),
    now: DateTime<Utc>,
) -> Result<MailPreferences, Refused> {
    let contact = contact_at(tx, name).await?;
    lock(cx, tx, contact.id, contact.email.as_deref()).await?;
    let before = mail_preferences(cx, tx, contact.clone()).await?;
    let replace = wanted.categories.clone();
    let replace = replace.map(|categories| Decision::Replace { categories });
    let all = wanted.unsubscribed_all;
    let all = all.map(|all| Decision::All { subscribed: !all });
    let decisions: Vec<Decision> = replace.into_iter().chain(all).collect();
    let grounds = Grounds::new(Source::Admin, "changed by an administrator");
    let subject = Subject::contact(contact.id);
    decide_consent(cx, tx, &subject, &decisions, &grounds, now).await?;
    if let Some(suppressed) = wanted.suppressed {
        let email = contact.email.as_ref();
        let email =
            email.ok_or_else(|| Refused::invalid("suppressed", "the contact has no address"))?;
        let mailbox = cx.addresses.mailbox(email);
        if suppressed {
            contacts::suppress(tx, &mailbox, "manual", (None, None), now).await?;
        } else {
            contacts::lift(tx, &mailbox).await?;
        }
    }
    let id = contact.id.to_string();
    let after = mail_preferences(cx, tx, contact).await?;
    let change = Change::changed(told(&before), told(&after));
    let about = ("contact", &*id);
    audit(tx, actor, "preferences.update", about, change, now).await?;
    [Topic::Runs, Topic::Captures]
        .into_iter()
        .for_each(db::stir);
    Ok(after)
}

/// What the audit log stores about preferences.
fn told(preferences: &MailPreferences) -> Value {
    json!({
        "unsubscribedAll": preferences.wants.unsubscribed_all,
        "suppressed": preferences.suppression.is_some(),
        "categories": preferences.wants.categories,
    })
}
