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
pub struct Told {
    pub contact: ContactId,
    pub name: &'static str,
    pub properties: Properties,
    pub occurred_at: DateTime<Utc>,
    /// The number of journeys that led to it.
    pub depth: i16,
}

impl Told {
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
pub async fn tell(
    conn: &mut Conn,
    catalog: &Catalog,
    all: Vec<Told>,
    now: DateTime<Utc>,
) -> db::Result<()> {
    if all.is_empty() {
        return Ok(());
    }
    let captures: Vec<NewCapture> = all
        .iter()
        .map(|told| NewCapture {
            id: ids::at(now),
            contact_id: told.contact,
            event: Some(told.name.to_owned()),
            properties: told.properties.clone(),
            occurred_at: told.occurred_at,
        })
        .collect();
    db::capture_insert(conn, &captures, now).await?;
    let news: Vec<News> = all.iter().map(Told::news).collect();
    announce(conn, &news, now).await?;
    // The limit stops journeys that their own mails trigger.
    let (near, far): (Vec<Told>, Vec<Told>) =
        all.into_iter().partition(|told| told.depth + 1 < MAX_DEPTH);
    for told in far {
        tracing::warn!(contact.id = %told.contact, event = told.name,
            "journeys trigger each other through their mails: this event triggers no further journey");
    }
    let events = near.into_iter().map(|told| NewEvent {
        source: "email".into(),
        occurred_at: Some(told.occurred_at),
        ..NewEvent::from_journey(told.contact, told.name, told.properties, told.depth + 1)
    });
    store(conn, catalog, now, events.collect()).await?;
    Ok(())
}
