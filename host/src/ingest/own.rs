//! The host's own events about contacts, reported to journeys, analytics and webhooks.

use chrono::{DateTime, Utc};
use hogsend_plugin_api::Properties;

use super::{MAX_DEPTH, NewEvent, store};
use crate::catalog::Catalog;
use crate::db::{self, Conn, NewCapture};
use crate::ids::{self, ContactId};
use crate::webhooks::{News, announce};

/// An event made by the host.
#[derive(Clone, Debug)]
pub struct OwnEvent {
    pub contact: ContactId,
    pub name: &'static str,
    pub properties: Properties,
    pub occurred_at: DateTime<Utc>,
    /// The number of journeys that led to it.
    pub depth: i16,
}

impl OwnEvent {
    fn news(&self) -> News {
        News {
            event_type: match self.name {
                "email.unsubscribed" => "contact.unsubscribed",
                name => name,
            },
            contact: self.contact,
            occurred_at: self.occurred_at,
            data: self.properties.clone(),
        }
    }
}

/// Lets journeys react to events made by the host, and queues them for analytics and for the endpoints
/// that subscribed to them.
pub async fn publish(
    conn: &mut Conn,
    catalog: &Catalog,
    all: Vec<OwnEvent>,
    now: DateTime<Utc>,
) -> db::Result<()> {
    if all.is_empty() {
        return Ok(());
    }
    let captures: Vec<NewCapture> = all
        .iter()
        .map(|own| NewCapture {
            id: ids::at(now),
            contact_id: own.contact,
            event: Some(own.name.to_owned()),
            properties: own.properties.clone(),
            occurred_at: own.occurred_at,
        })
        .collect();
    db::capture_insert(conn, &captures, now).await?;
    let news: Vec<News> = all.iter().map(OwnEvent::news).collect();
    announce(conn, &news, now).await?;
    // The limit stops journeys that their own mails trigger.
    let (near, far): (Vec<OwnEvent>, Vec<OwnEvent>) =
        all.into_iter().partition(|own| own.depth + 1 < MAX_DEPTH);
    for own in far {
        tracing::warn!(contact.id = %own.contact, event = own.name,
            "journeys trigger each other through their mails: this event triggers no further journey");
    }
    let events = near.into_iter().map(|own| NewEvent {
        source: "email".into(),
        occurred_at: Some(own.occurred_at),
        ..NewEvent::from_journey(own.contact, own.name, own.properties, own.depth + 1)
    });
    store(conn, catalog, now, events.collect()).await?;
    Ok(())
}
