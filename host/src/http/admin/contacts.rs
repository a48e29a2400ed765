//! Contacts: searching, creating, changing and erasing them.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use hogsend_plugin_api::Properties;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::pending::{self, PendingOut};
use crate::app::App;
use crate::contacts::{self, ContactChange, contact_at};
use crate::db;
use crate::http::ApiError;
use crate::http::auth::{Caller, FullAdmin, Read};
use crate::http::product::contacts::{ContactOut, ErasedOut};
use crate::http::wire::body::JsonBody;
use crate::http::wire::openapi::Routes;
use crate::http::wire::openapi::{BadRequest, ErrorOut, NotFound};
use crate::http::wire::paging::{CursorParam, Page, Part, PartParams};
use crate::http::wire::params::{Name, Path, Query};
use crate::http::wire::search::Search;
use crate::http::wire::words::TimelineType;
use crate::ingest;
use utoipa_axum::routes;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list_contacts, create_contact))
        .routes(routes!(show_contact, change_contact, erase_contact))
        .routes(routes!(show_timeline))
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContactsOut {
    contacts: Vec<ContactOut>,
    total: i64,
    limit: i64,
    offset: i64,
    /// Null on the last page.
    next_cursor: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ContactsQuery {
    /// Part of the email address or of the product's id, at most 320 characters.
    #[serde(default)]
    #[param(value_type = Option<String>, max_length = 320)]
    search: Search,
}

#[derive(Serialize, ToSchema)]
pub struct OneContactOut {
    contact: ContactOut,
}

/// A property that an event source sent and that could not be stored.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it is stored as it is shown")]
pub struct RefusedOut {
    source: String,
    name: String,
    reason: String,
    at: DateTime<Utc>,
}

/// Lists contacts, newest first.
#[utoipa::path(
    get, path = "/v1/admin/contacts", tag = "contacts",
    security(("key" = ["read"]), ("session" = [])),
    params(ContactsQuery, PartParams, CursorParam),
    responses((status = 200, description = "A page of contacts", body = ContactsOut), (status = 400, response = BadRequest)),
)]
pub async fn list_contacts(
    State(app): State<App>,
    _: Caller<Read>,
    Query(query): Query<ContactsQuery>,
    page: Page,
) -> Result<Json<ContactsOut>, ApiError> {
    let search = query.search.text();
    let after = page.after.map(|(_, id)| id);
    let mut conn = app.db.report().await?;
    let rows = db::contacts_list(&mut conn, search, after, page.limit, page.offset).await?;
    let total = db::contact_count(&mut conn, search).await?;
    Ok(Json(ContactsOut {
        next_cursor: page.next_cursor(rows.iter().map(|row| (row.created_at, row.id.0))),
        contacts: rows.into_iter().map(ContactOut::from).collect(),
        total,
        limit: page.limit,
        offset: page.offset,
    }))
}

/// A contact, with the changes that wait for a decision.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContactStoryOut {
    contact: ContactOut,
    /// No trusted call has confirmed that the address belongs to this contact. Transactional mail
    /// addressed by `userId` is skipped.
    email_unconfirmed: bool,
    /// Changes that untrusted events requested.
    pending_changes: Vec<PendingOut>,
    /// Properties that event sources sent recently and that could not be stored, newest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<RefusedOut>>)]
    refused: Option<Value>,
}

/// Shows one contact.
#[utoipa::path(
    get, path = "/v1/admin/contacts/{id}", tag = "contacts",
    security(("key" = ["read"]), ("session" = [])),
    params(("id" = String, Path, description = "The contact's id; or `ext:` followed by the product's id; or the product's id alone, unless it is a UUID or the name of a route")),
    responses((status = 200, description = "The contact", body = ContactStoryOut), (status = 404, response = NotFound)),
)]
pub async fn show_contact(
    State(app): State<App>,
    _: Caller<Read>,
    Path(Name(name)): Path<Name>,
) -> Result<Json<ContactStoryOut>, ApiError> {
    let mut conn = app.db.conn().await?;
    let row = contact_at(&mut conn, &name).await?;
    let known = db::contact_get(&mut conn, row.id).await?;
    Ok(Json(ContactStoryOut {
        email_unconfirmed: known.is_some_and(|contact| contact.email_unconfirmed),
        pending_changes: pending::of_contact(&mut conn, row.id).await?,
        refused: db::contact_unfit_of(&mut conn, row.id).await?,
        contact: row.into(),
    }))
}

/// A new contact. At least one of `externalId` and `email` is required.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NewContactIn {
    /// The product's own id.
    external_id: Option<String>,
    email: Option<String>,
    #[schema(value_type = Option<Object>)]
    properties: Option<Properties>,
}

/// Creates a contact. No journey starts.
#[utoipa::path(
    post, path = "/v1/admin/contacts", tag = "contacts",
    security(("key" = ["full-admin"]), ("session" = [])),
    request_body = NewContactIn,
    responses(
        (status = 201, description = "The new contact", body = OneContactOut),
        (status = 400, response = BadRequest),
        (status = 409, description = "Another contact has this externalId or email", body = ErrorOut),
    ),
)]
pub async fn create_contact(
    State(app): State<App>,
    caller: Caller<FullAdmin>,
    JsonBody(body): JsonBody<NewContactIn>,
) -> Result<(StatusCode, Json<OneContactOut>), ApiError> {
    let names = (body.external_id, body.email);
    let properties = body.properties.unwrap_or_default();
    let row = ingest::create_contact(&app, &caller.actor, names, &properties).await?;
    let out = OneContactOut {
        contact: row.into(),
    };
    Ok((StatusCode::CREATED, Json(out)))
}

/// Changes to a contact. Absent fields keep their values.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContactChangeIn {
    /// Null removes it.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    external_id: Option<Option<String>>,
    /// Null removes it.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    email: Option<Option<String>>,
    /// Merged into the contact's properties; null removes a property.
    #[schema(value_type = Option<Object>)]
    properties: Option<Properties>,
}

/// Distinguishes null from an absent field.
fn present<'de, D: Deserializer<'de>>(reader: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(reader).map(Some)
}

/// Changes a contact. An `externalId` or `email` of another contact is refused; use
/// `PUT /v1/contacts` to merge two contacts.
#[utoipa::path(
    patch, path = "/v1/admin/contacts/{id}", tag = "contacts",
    security(("key" = ["full-admin"]), ("session" = [])),
    params(("id" = String, Path, description = "The contact's id; or `ext:` followed by the product's id; or the product's id alone, unless it is a UUID or the name of a route")),
    request_body = ContactChangeIn,
    responses(
        (status = 200, description = "The contact as it is now", body = OneContactOut),
        (status = 400, response = BadRequest), (status = 404, response = NotFound),
        (status = 409, description = "Another contact has this externalId or email", body = ErrorOut),
    ),
)]
pub async fn change_contact(
    State(app): State<App>,
    caller: Caller<FullAdmin>,
    Path(Name(name)): Path<Name>,
    JsonBody(body): JsonBody<ContactChangeIn>,
) -> Result<Json<OneContactOut>, ApiError> {
    let wanted = ContactChange {
        external_id: body.external_id,
        email: body.email,
        properties: body.properties.unwrap_or_default(),
    };
    let row = contacts::change_contact(&app, &caller.actor, &name, &wanted).await?;
    Ok(Json(OneContactOut {
        contact: row.into(),
    }))
}

/// Erases a contact: identity, events, runs, logs and rendered mail.
///
/// A keyed hash of the address stays on the suppression list.
#[utoipa::path(
    delete, path = "/v1/admin/contacts/{id}", tag = "contacts",
    security(("key" = ["full-admin"]), ("session" = [])),
    params(("id" = String, Path, description = "The contact's id; or `ext:` followed by the product's id; or the product's id alone, unless it is a UUID or the name of a route")),
    responses((status = 200, description = "The contact is erased", body = ErasedOut), (status = 404, response = NotFound)),
)]
pub async fn erase_contact(
    State(app): State<App>,
    caller: Caller<FullAdmin>,
    Path(Name(name)): Path<Name>,
) -> Result<Json<ErasedOut>, ApiError> {
    let erased = contacts::erase_contact(&app, &caller.actor, &name).await?;
    Ok(Json(ErasedOut { deleted: erased }))
}

/// An event of a contact, a mail to them, or a transition of one of their runs.
#[derive(Serialize, ToSchema)]
pub struct TimelineItemOut {
    #[schema(value_type = TimelineType)]
    #[serde(rename = "type")]
    kind: String,
    timestamp: DateTime<Utc>,
    #[schema(value_type = Object)]
    data: Value,
}

#[derive(Serialize, ToSchema)]
pub struct TimelineOut {
    timeline: Vec<TimelineItemOut>,
    /// Events, mails and transitions of runs; each is counted up to 100,000.
    total: i64,
    limit: i64,
    offset: i64,
}

/// Lists a contact's events, mails and transitions of runs, newest first.
#[utoipa::path(
    get, path = "/v1/admin/contacts/{id}/timeline", tag = "contacts",
    security(("key" = ["read"]), ("session" = [])),
    params(("id" = String, Path, description = "The contact's id; or `ext:` followed by the product's id; or the product's id alone, unless it is a UUID or the name of a route"), PartParams),
    responses((status = 200, description = "A page of the timeline", body = TimelineOut), (status = 400, response = BadRequest), (status = 404, response = NotFound)),
)]
pub async fn show_timeline(
    State(app): State<App>,
    _: Caller<Read>,
    Path(Name(name)): Path<Name>,
    page: Part,
) -> Result<Json<TimelineOut>, ApiError> {
    let mut conn = app.db.report().await?;
    let contact = contact_at(&mut conn, &name).await?;
    let (items, total) =
        db::contact_timeline(&mut conn, contact.id, page.limit, page.offset).await?;
    let timeline = items.into_iter().map(|item| TimelineItemOut {
        kind: item.kind,
        timestamp: item.at,
        data: item.data,
    });
    Ok(Json(TimelineOut {
        timeline: timeline.collect(),
        total,
        limit: page.limit,
        offset: page.offset,
    }))
}
