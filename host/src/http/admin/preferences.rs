//! A contact's mail preferences, with the suppression of their address.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::App;
use crate::contacts::{MailPreferences, contact_at, mail_preferences};
use crate::foreign::Issue;
use crate::http::ApiError;
use crate::http::auth::{Caller, FullAdmin, Read};
use crate::http::product::contacts::list_issues;
use crate::http::wire::body::JsonBody;
use crate::http::wire::openapi::Routes;
use crate::http::wire::openapi::{BadRequest, NotFound};
use crate::http::wire::params::{Name, Path};
use crate::http::wire::words::SuppressionReason;
use crate::ingest::{self, PreferencesChange};
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

impl From<MailPreferences> for OnePreferencesOut {
    fn from(found: MailPreferences) -> Self {
        let preferences = PreferencesOut {
            user_id: found.contact.external_id,
            email: found.contact.email,
            unsubscribed_all: found.wants.unsubscribed_all,
            suppressed: found.suppression.is_some(),
            suppression_reason: found.suppression.map(|one| one.reason),
            bounce_count: found.bounces,
            categories: found.wants.categories,
        };
        Self { preferences }
    }
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
    let contact = contact_at(&mut conn, &name).await?;
    let preferences = mail_preferences(&app, &mut conn, contact).await?;
    Ok(Json(preferences.into()))
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
    let wanted = PreferencesChange {
        unsubscribed_all: body.unsubscribed_all,
        suppressed: body.suppressed,
        categories: body.categories,
    };
    let after = ingest::set_preferences(&app, &caller.actor, &name, &wanted).await?;
    Ok(Json(after.into()))
}
