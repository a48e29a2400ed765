//! A contact's mail preferences, with the suppression of their address.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::lookup::{WOKEN, found};
use crate::app::App;
use crate::audit::{Change, audit};
use crate::contacts;
use crate::contacts::consent::{self, Decision, Grounds, Source, Subject};
use crate::db::{self, Conn, ContactRow, Tx};
use crate::foreign::Issue;
use crate::http::ApiError;
use crate::http::auth::{Caller, FullAdmin, Read};
use crate::http::product::contacts::list_issues;
use crate::http::wire::body::JsonBody;
use crate::http::wire::openapi::Routes;
use crate::http::wire::openapi::{BadRequest, NotFound};
use crate::http::wire::params::{Name, Path};
use crate::http::wire::words::SuppressionReason;
use crate::ingest;
use utoipa_axum::routes;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new().routes(routes!(show_admin_preferences, put_preferences))
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PreferencesOut {
    /// The product's id of the contact.
    user_id: Option<String>,
    email: Option<String>,
    unsubscribed_all: bool,
    /// Whether the address is on the suppression list: it gets no mail, whatever the preferences.
    suppressed: bool,
    #[schema(value_type = Option<SuppressionReason>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    suppression_reason: Option<String>,
    /// Transient bounces.
    bounce_count: i32,
    /// List id to whether the contact is on it. Lists without an entry count as subscribed.
    categories: BTreeMap<String, bool>,
}

#[derive(Serialize, ToSchema)]
pub struct OnePreferencesOut {
    preferences: PreferencesOut,
}

/// Shows a contact's mail preferences: the stricter of the contact's own and those of their address.
#[utoipa::path(
    get, path = "/v1/admin/contacts/{id}/preferences", tag = "contacts",
    security(("key" = ["read"]), ("session" = [])),
    params(("id" = String, Path, description = "The contact's id; or `ext:` followed by the product's id; or the product's id alone, unless it is a UUID or the name of a route")),
    responses((status = 200, description = "The preferences", body = OnePreferencesOut), (status = 404, response = NotFound)),
)]
pub async fn show_admin_preferences(
    State(app): State<App>,
    _: Caller<Read>,
    Path(Name(name)): Path<Name>,
) -> Result<Json<OnePreferencesOut>, ApiError> {
    let mut conn = app.db.conn().await?;
    let contact = found(&mut conn, &name).await?;
    let preferences = read(&app, &mut conn, &contact).await?;
    Ok(Json(OnePreferencesOut { preferences }))
}

/// Changes to preferences. Absent fields keep their values.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PreferencesIn {
    unsubscribed_all: Option<bool>,
    /// False removes the address from the suppression list, whatever the reason.
    suppressed: Option<bool>,
    /// Replaces the whole map.
    categories: Option<BTreeMap<String, bool>>,
}

/// Changes the mail preferences of a contact and of every other contact with the same address.
///
/// Unsubscribing has the same effects on journeys and analytics as if the contact had done it.
#[utoipa::path(
    put, path = "/v1/admin/contacts/{id}/preferences", tag = "contacts",
    security(("key" = ["full-admin"]), ("session" = [])),
    params(("id" = String, Path, description = "The contact's id; or `ext:` followed by the product's id; or the product's id alone, unless it is a UUID or the name of a route")),
    request_body = PreferencesIn,
    responses((status = 200, description = "The preferences as they are now", body = OnePreferencesOut), (status = 400, response = BadRequest), (status = 404, response = NotFound)),
)]
pub async fn put_preferences(
    State(app): State<App>,
    caller: Caller<FullAdmin>,
    Path(Name(name)): Path<Name>,
    JsonBody(body): JsonBody<PreferencesIn>,
) -> Result<Json<OnePreferencesOut>, ApiError> {
    let issues = body.categories.as_ref().map(list_issues);
    let issues: Vec<Issue> = issues.unwrap_or_default();
    if !issues.is_empty() {
        return Err(ApiError::validation(&issues));
    }
    let now = app.clock.now();
    let work = async |tx: Tx| put(&app, tx, &caller, (&name, &body), now).await;
    let preferences = app.db.transact(work).await?;
    Ok(Json(OnePreferencesOut { preferences }))
}

async fn put(
    app: &App,
    mut tx: Tx,
    caller: &Caller<FullAdmin>,
    (name, body): (&str, &PreferencesIn),
    now: DateTime<Utc>,
) -> Result<(Tx, PreferencesOut), ApiError> {
    let contact = found(&mut tx, name).await?;
    consent::lock(app, &mut tx, contact.id, contact.email.as_deref()).await?;
    let before = read(app, &mut tx, &contact).await?;
    let replace = body.categories.clone();
    let replace = replace.map(|categories| Decision::Replace { categories });
    let all = body.unsubscribed_all;
    let all = all.map(|all| Decision::All { subscribed: !all });
    let decisions: Vec<Decision> = replace.into_iter().chain(all).collect();
    let grounds = Grounds::new(Source::Admin, "changed by an administrator");
    let subject = Subject::contact(contact.id);
    ingest::decide_consent(app, &mut tx, &subject, &decisions, &grounds, now).await?;
    if let Some(suppressed) = body.suppressed {
        let Some(email) = &contact.email else {
            let issue = Issue::new("suppressed", "the contact has no address");
            return Err(ApiError::validation(&[issue]));
        };
        let mailbox = app.addresses.mailbox(email);
        if suppressed {
            contacts::suppress(&mut tx, &mailbox, "manual", (None, None), now).await?;
        } else {
            contacts::lift(&mut tx, &mailbox).await?;
        }
    }
    let after = read(app, &mut tx, &contact).await?;
    let change = Change::changed(told(&before), told(&after));
    let id = contact.id.to_string();
    audit(
        &mut tx,
        &caller.actor,
        "preferences.update",
        ("contact", &id),
        change,
        now,
    )
    .await?;
    WOKEN.into_iter().for_each(db::stir);
    Ok((tx, after))
}

async fn read(app: &App, conn: &mut Conn, contact: &ContactRow) -> db::Result<PreferencesOut> {
    let email = contact.email.as_deref();
    let wants = consent::preferences_at(app, conn, contact.id, email).await?;
    let suppression = match email {
        Some(email) => contacts::suppression_of(conn, &app.addresses.mailbox(email)).await?,
        None => None,
    };
    Ok(PreferencesOut {
        user_id: contact.external_id.clone(),
        email: contact.email.clone(),
        unsubscribed_all: wants.unsubscribed_all,
        suppressed: suppression.is_some(),
        suppression_reason: suppression.map(|one| one.reason),
        bounce_count: db::preferences_bounces(conn, contact.id).await?,
        categories: wants.categories,
    })
}

fn told(out: &PreferencesOut) -> Value {
    json!({ "unsubscribedAll": out.unsubscribed_all, "suppressed": out.suppressed, "categories": out.categories })
}
