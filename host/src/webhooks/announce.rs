//! Which events are delivered to which endpoints.

use chrono::{DateTime, SecondsFormat, Utc};
use hogsend_plugin_api::Properties;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::db::{self, Conn, NewDelivery};
use crate::ids::{self, ContactId};

/// The event types an endpoint may subscribe to.
pub const EVENT_TYPES: [&str; 18] = [
    "email.sent",
    "email.delivered",
    "email.opened",
    "email.clicked",
    "email.bounced",
    "email.soft_bounced",
    "email.complained",
    "email.failed",
    "contact.created",
    "contact.updated",
    "contact.deleted",
    "contact.subscribed",
    "contact.unsubscribed",
    // The former name of `contact.subscribed`.
    "contact.resubscribed",
    "journey.enrolled",
    "journey.completed",
    "journey.failed",
    "journey.exited",
];

/// The event type of an administrator's test delivery.
pub const TEST_TYPE: &str = "webhook.test";

/// An event of a contact.
#[derive(Clone, Debug)]
pub struct News {
    /// One of [`EVENT_TYPES`]; others are not delivered.
    pub event_type: &'static str,
    pub contact: ContactId,
    pub occurred_at: DateTime<Utc>,
    pub data: Properties,
}

/// Queues events for every endpoint that subscribes to them, in the caller's transaction. Without
/// such an endpoint this costs one query on a small table.
pub async fn announce(conn: &mut Conn, news: &[News], now: DateTime<Utc>) -> db::Result<()> {
    let mut types: Vec<String> = news.iter().map(|one| one.event_type.to_owned()).collect();
    types.retain(|name| EVENT_TYPES.contains(&name.as_str()));
    types.sort_unstable();
    types.dedup();
    if types.is_empty() {
        return Ok(());
    }
    let endpoints = db::webhook_subscribers(conn, &types).await?;
    let mut deliveries = Vec::new();
    for one in news {
        for endpoint in &endpoints {
            if endpoint.event_types.iter().any(|it| it == one.event_type) {
                deliveries.push(NewDelivery {
                    id: ids::at(now),
                    endpoint_id: endpoint.id,
                    contact_id: Some(one.contact),
                    event_type: one.event_type.to_owned(),
                    occurred_at: timestamp(one.occurred_at),
                    data: Value::Object(one.data.clone()),
                });
            }
        }
    }
    if deliveries.is_empty() {
        return Ok(());
    }
    db::deliveries_insert(conn, &deliveries, now).await
}

/// Queues `contact.deleted`, in the transaction that deletes the contacts. The deliveries outlive
/// the contacts, so they hold their ids alone.
pub async fn announce_deleted(
    conn: &mut Conn,
    gone: &[(ContactId, Option<String>)],
    now: DateTime<Utc>,
) -> db::Result<()> {
    let event_type = "contact.deleted";
    let endpoints = db::webhook_subscribers(conn, &[event_type.to_owned()]).await?;
    let mut deliveries = Vec::new();
    for (contact, user) in gone {
        for endpoint in &endpoints {
            deliveries.push(NewDelivery {
                id: ids::at(now),
                endpoint_id: endpoint.id,
                contact_id: None,
                event_type: event_type.to_owned(),
                occurred_at: timestamp(now),
                data: json!({ "contactId": contact, "userId": user, "email": null }),
            });
        }
    }
    if deliveries.is_empty() {
        return Ok(());
    }
    db::deliveries_insert(conn, &deliveries, now).await
}

/// A time as written in bodies: RFC 3339 in UTC, to the millisecond.
pub fn timestamp(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// The message id receivers see, the same in every attempt.
pub(super) fn message_id(id: Uuid) -> String {
    format!("msg_{}", id.simple())
}
