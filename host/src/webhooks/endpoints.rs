//! What administrators do to webhook endpoints.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::announce::{EVENT_TYPES, TEST_TYPE, timestamp};
use super::post::{Poster, check_url};
use super::sign::{new_secret, secret_prefix};
use crate::audit::{Actor, Change, Refused, audit};
use crate::context::Context;
use crate::db::{self, Conn, Endpoint, NewDelivery, Topic, Tx};
use crate::foreign::{Issue, one_of, some_of};
use crate::ids::{self, EndpointId};

/// The kinds of endpoints.
pub const KINDS: [&str; 1] = ["webhook"];

/// How long requests carry a signature of the old secret after a rotation.
const OVERLAP: TimeDelta = TimeDelta::hours(24);
const DESCRIPTION_MAX: usize = 500;

/// What to set of an endpoint; `None` keeps the present value.
#[derive(Clone, Debug, Default)]
pub struct EndpointChange {
    pub url: Option<String>,
    pub event_types: Option<Vec<String>>,
    /// `Some(None)` removes it.
    pub description: Option<Option<String>>,
    pub disabled: Option<bool>,
    pub kind: Option<String>,
}

impl EndpointChange {
    /// Applies the change, and adds an issue for each value that is not allowed.
    fn apply(self, poster: &Poster, endpoint: &mut Endpoint, issues: &mut Vec<Issue>) {
        if let Some(url) = self.url {
            match check_url(&url, poster) {
                Ok(url) => endpoint.url = url.into(),
                Err(why) => issues.push(Issue::new("url", why)),
            }
        }
        if let Some(types) = self.event_types {
            issues.extend(some_of("eventTypes", &types, &EVENT_TYPES));
            // Without duplicates, in a fixed order.
            let wanted = EVENT_TYPES.iter().map(|name| (*name).to_owned());
            endpoint.event_types = wanted.filter(|name| types.contains(name)).collect();
        }
        if let Some(kind) = &self.kind {
            issues.extend(one_of("kind", kind, &KINDS));
        }
        if let Some(description) = self.description {
            let description = description.unwrap_or_default();
            if description.chars().count() > DESCRIPTION_MAX {
                let message = format!("must have at most {DESCRIPTION_MAX} characters");
                issues.push(Issue::new("description", message));
            }
            endpoint.description = description;
        }
        if let Some(disabled) = self.disabled {
            endpoint.disabled = disabled;
            endpoint.disabled_reason = None;
        }
    }
}

/// Creates an endpoint with a new secret. URL and event types are required.
pub async fn create(
    cx: &Context,
    poster: &Poster,
    actor: &Actor,
    settings: EndpointChange,
) -> Result<Endpoint, Refused> {
    let now = cx.clock.now();
    let mut issues = Vec::new();
    for (name, absent) in [
        ("url", settings.url.is_none()),
        ("eventTypes", settings.event_types.is_none()),
    ] {
        if absent {
            issues.push(Issue::new(name, "is required"));
        }
    }
    let mut endpoint = Endpoint {
        id: EndpointId::new(now),
        url: String::new(),
        description: String::new(),
        event_types: Vec::new(),
        disabled: false,
        disabled_reason: None,
        secret: new_secret(),
        previous_until: None,
        last_delivery_at: None,
        created_at: now,
        updated_at: now,
    };
    settings.apply(poster, &mut endpoint, &mut issues);
    Refused::unless_valid(issues)?;
    let work = async |mut tx: Tx| {
        db::webhook_insert(&mut tx, &endpoint).await?;
        let change = Change::created(told(&endpoint));
        keep(&mut tx, actor, "webhook.create", endpoint.id, change, now).await?;
        db::Result::Ok((tx, ()))
    };
    cx.db.transact(work).await?;
    Ok(endpoint)
}

/// Changes an endpoint. When it is enabled again, it receives the events it missed.
pub async fn change(
    cx: &Context,
    poster: &Poster,
    actor: &Actor,
    id: EndpointId,
    settings: &EndpointChange,
) -> Result<Endpoint, Refused> {
    let now = cx.clock.now();
    let work = async |mut tx: Tx| {
        let mut endpoint = lock(&mut tx, id).await?;
        let before = told(&endpoint);
        let mut issues = Vec::new();
        settings.clone().apply(poster, &mut endpoint, &mut issues);
        Refused::unless_valid(issues)?;
        endpoint.updated_at = now;
        db::webhook_update(&mut tx, &endpoint).await?;
        let change = Change::changed(before, told(&endpoint));
        keep(&mut tx, actor, "webhook.update", id, change, now).await?;
        db::stir(Topic::Webhooks);
        Ok::<_, Refused>((tx, endpoint))
    };
    cx.db.transact(work).await
}

/// Deletes an endpoint and its pending deliveries.
pub async fn delete(cx: &Context, actor: &Actor, id: EndpointId) -> Result<(), Refused> {
    let now = cx.clock.now();
    let work = async |mut tx: Tx| {
        let endpoint = lock(&mut tx, id).await?;
        db::webhook_delete(&mut tx, id).await?;
        let change = Change::deleted(told(&endpoint));
        keep(&mut tx, actor, "webhook.delete", id, change, now).await?;
        Ok::<_, Refused>((tx, ()))
    };
    cx.db.transact(work).await
}

/// Replaces the secret of an endpoint, and returns the new one. For 24 hours requests carry a signature of
/// the old one as well.
pub async fn rotate_secret(cx: &Context, actor: &Actor, id: EndpointId) -> Result<String, Refused> {
    let now = cx.clock.now();
    let secret = new_secret();
    let work = async |mut tx: Tx| {
        let before = lock(&mut tx, id).await?;
        db::webhook_rotate(&mut tx, id, &secret, now + OVERLAP, now).await?;
        let change = Change::changed(
            json!({ "secretPrefix": secret_prefix(&before.secret) }),
            json!({ "secretPrefix": secret_prefix(&secret) }),
        );
        keep(&mut tx, actor, "webhook.rotate_secret", id, change, now).await?;
        Ok::<_, Refused>((tx, ()))
    };
    cx.db.transact(work).await?;
    Ok(secret)
}

/// Queues an event of the type [`TEST_TYPE`] for an endpoint, whatever its event types.
pub async fn send_test(cx: &Context, actor: &Actor, id: EndpointId) -> Result<(), Refused> {
    let now = cx.clock.now();
    let work = async |mut tx: Tx| {
        let endpoint = lock(&mut tx, id).await?;
        if endpoint.disabled {
            return Err(Refused::Conflict(
                "This endpoint is disabled: enable it with {\"disabled\": false} first",
            ));
        }
        let delivery = NewDelivery {
            id: ids::at(now),
            endpoint_id: id,
            contact_id: None,
            event_type: TEST_TYPE.into(),
            occurred_at: timestamp(now),
            data: json!({ "test": true, "contactId": null, "userId": null, "email": null }),
        };
        db::deliveries_insert(&mut tx, &[delivery], now).await?;
        let change = Change::created(json!({ "eventType": TEST_TYPE }));
        keep(&mut tx, actor, "webhook.test", id, change, now).await?;
        db::stir(Topic::Webhooks);
        Ok((tx, ()))
    };
    cx.db.transact(work).await
}

async fn lock(conn: &mut Conn, id: EndpointId) -> Result<Endpoint, Refused> {
    let locked = db::webhook_lock(conn, id).await?;
    locked.ok_or(Refused::NotFound("Webhook not found"))
}

async fn keep(
    conn: &mut Conn,
    actor: &Actor,
    action: &str,
    id: EndpointId,
    change: Change,
    now: DateTime<Utc>,
) -> db::Result<()> {
    let about = ("webhook", &*id.to_string());
    audit(conn, actor, action, about, change, now).await
}

/// What the audit log stores about an endpoint: only its host, since the path may hold a secret.
fn told(endpoint: &Endpoint) -> Value {
    let url = reqwest::Url::parse(&endpoint.url).ok();
    json!({
        "host": url.as_ref().and_then(|url| url.host_str()),
        "eventTypes": endpoint.event_types,
        "description": endpoint.description,
        "disabled": endpoint.disabled,
    })
}
