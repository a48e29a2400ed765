//! What people want to receive, and their changing it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use hogsend_plugin_api::Properties;
use hogsend_plugin_api::semantics::TRANSACTIONAL;
use serde_json::json;

use crate::app::App;
use crate::db::{self, Conn, Preferences};
use crate::ids::ContactId;
use crate::mail::{Told, tell};
use crate::webhooks::{News, announce};

/// A category a person may choose, and whether they get it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    pub id: String,
    /// For people: `Product news` for `product-news`.
    pub title: String,
    pub subscribed: bool,
}

/// What a person decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// For one category.
    Category { id: String, subscribed: bool },
    /// For everything at once.
    All { subscribed: bool },
}

/// Every category of this installation's journeys and templates, and those the person spoke of
/// before. Transactional mail is no choice.
pub fn choices(app: &App, preferences: &Preferences) -> Vec<Choice> {
    let journeys = app
        .catalog
        .journeys()
        .map(|entry| &entry.definition.category);
    let templates = app
        .catalog
        .templates()
        .filter_map(|one| one.category.as_ref());
    let known = journeys
        .chain(templates)
        .chain(preferences.categories.keys());
    let all: BTreeMap<&String, ()> = known.map(|id| (id, ())).collect();
    all.into_keys()
        .filter(|id| *id != TRANSACTIONAL)
        .map(|id| Choice {
            title: title(id),
            subscribed: preferences.allow(id),
            id: id.clone(),
        })
        .collect()
}

/// A category as people read it.
pub fn title(id: &str) -> String {
    // The category of journeys that name none.
    if id == "journey" {
        return "Tips and news".into();
    }
    let words = id.replace(['-', '_', '.'], " ");
    let mut letters = words.trim().chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => id.to_owned(),
    }
}

/// The preferences of a person who may not have spoken yet.
pub async fn preferences(conn: &mut Conn, contact: ContactId) -> db::Result<Preferences> {
    let mut found = db::preferences_by_contact(conn, &[contact]).await?;
    Ok(found.remove(&contact).unwrap_or_default())
}

/// Carries out what a person decided. Where they leave something they got until now,
/// `email.unsubscribed` is told to journeys and analytics, with the category or `all`; endpoints
/// that asked for it hear of both directions. Returns whether anything changed.
pub async fn decide(
    app: &App,
    conn: &mut Conn,
    contact: ContactId,
    decisions: &[Decision],
    now: DateTime<Utc>,
) -> db::Result<bool> {
    if db::contact_lock(conn, &[contact]).await?.is_empty() {
        return Ok(false);
    }
    let before = preferences(conn, contact).await?;
    let mut left = Vec::new();
    let mut back = Vec::new();
    for decision in decisions {
        match decision {
            Decision::Category { id, subscribed } => {
                if before.categories.get(id).copied().unwrap_or(true) != *subscribed {
                    db::preferences_set_category(conn, contact, id, *subscribed, now).await?;
                }
                if before.allow(id) && !subscribed {
                    left.push(("category", json!(id)));
                }
                if before.categories.get(id) == Some(&false) && *subscribed {
                    back.push(("category", json!(id)));
                }
            }
            Decision::All { subscribed } => {
                if before.unsubscribed_all == *subscribed {
                    db::preferences_set_all(conn, contact, !subscribed, now).await?;
                }
                if !before.unsubscribed_all && !subscribed {
                    left.push(("all", json!(true)));
                }
                if before.unsubscribed_all && *subscribed {
                    back.push(("all", json!(true)));
                }
            }
        }
    }
    let told = left.into_iter().map(|(name, value)| Told {
        contact,
        name: "email.unsubscribed",
        properties: Properties::from_iter([(name.to_owned(), value)]),
        occurred_at: now,
        depth: 0,
    });
    tell(app, conn, told.collect(), now).await?;
    let news = back.into_iter().map(|(name, value)| News {
        event_type: "contact.resubscribed",
        contact,
        occurred_at: now,
        data: Properties::from_iter([(name.to_owned(), value)]),
    });
    announce(conn, &news.collect::<Vec<_>>(), now).await?;
    Ok(preferences(conn, contact).await? != before)
}

/// Sets what an event says of a person's lists. It is the product that speaks, so only endpoints
/// that asked for it hear of it. The caller holds the contact's lock.
pub async fn choose(
    conn: &mut Conn,
    contact: ContactId,
    lists: &BTreeMap<String, bool>,
    now: DateTime<Utc>,
) -> db::Result<()> {
    if lists.is_empty() {
        return Ok(());
    }
    let before = preferences(conn, contact).await?;
    let mut news = Vec::new();
    for (category, subscribed) in lists {
        let was = before.categories.get(category).copied().unwrap_or(true);
        db::preferences_set_category(conn, contact, category, *subscribed, now).await?;
        if was != *subscribed {
            news.push(News {
                event_type: if *subscribed {
                    "contact.resubscribed"
                } else {
                    "contact.unsubscribed"
                },
                contact,
                occurred_at: now,
                data: Properties::from_iter([("category".to_owned(), json!(category))]),
            });
        }
    }
    announce(conn, &news, now).await
}

#[cfg(test)]
mod tests {
    use super::title;

    #[test]
    fn categories_have_titles_for_people() {
        for (id, expected) in [
            ("journey", "Tips and news"),
            ("product-news", "Product news"),
            ("éclair_x.y", "Éclair x y"),
            ("-", "-"),
        ] {
            assert_eq!(title(id), expected);
        }
    }
}
