//! Contacts, as the product's own code sees them.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use hogsend_plugin_api::Properties;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::contacts;
use crate::contacts::consent::{Asked, Grounds, Source, Subject, list_issue};
use crate::db::{self, ContactRow, NewIdentity};
use crate::foreign::Issue;
use crate::http::ApiError;
use crate::http::auth::{Caller, Ingest, LookUp};
use crate::http::wire::body::JsonBody;
use crate::http::wire::names::names;
use crate::http::wire::openapi::BadRequest;
use crate::http::wire::openapi::Routes;
use crate::http::wire::params::Query;
use crate::ids::ContactId;
use crate::ingest;
use utoipa_axum::routes;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new()
        .routes(routes!(put_contact, delete_contact))
        .routes(routes!(find_contacts))
}

/// A contact.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContactOut {
    pub id: ContactId,
    /// The product's id of the contact.
    pub external_id: Option<String>,
    pub email: Option<String>,
    #[schema(value_type = Object)]
    pub properties: Properties,
    pub first_seen_at: DateTime<Utc>,
    pub last_seen_at: DateTime<Utc>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl From<ContactRow> for ContactOut {
    fn from(row: ContactRow) -> Self {
        Self {
            id: row.id,
            external_id: row.external_id,
            email: row.email,
            properties: row.properties,
            first_seen_at: row.first_seen_at,
            last_seen_at: row.last_seen_at,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

/// A contact. At least one of `email`, `userId` and `anonymousId` is required.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContactIn {
    email: Option<String>,
    #[schema(example = "u1")]
    user_id: Option<String>,
    anonymous_id: Option<String>,
    /// Merged into the contact's properties; null removes a property.
    #[schema(value_type = Option<Object>)]
    properties: Option<Properties>,
    /// List id to whether the contact is on it. Unknown lists, and lists the contact left unless
    /// `consent` is true, are skipped and named in `listsError`.
    lists: Option<BTreeMap<String, bool>>,
    /// True records that the contact consents to rejoin lists they left; it is audited.
    consent: Option<bool>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContactPutOut {
    id: ContactId,
    created: bool,
    /// True if an existing contact got a new identifier, or two contacts were merged.
    linked: bool,
    /// The entries of `lists` that were skipped, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    lists_error: Option<String>,
}

/// Creates or changes a contact.
///
/// If the identifiers belong to two contacts, they are merged: their events, runs and mails are
/// combined, and whatever either of them unsubscribed from stays unsubscribed.
#[utoipa::path(
    put, path = "/v1/contacts", tag = "contacts",
    security(("key" = ["ingest"])),
    request_body = ContactIn,
    responses((status = 200, description = "The contact", body = ContactPutOut), (status = 400, response = BadRequest)),
)]
pub async fn put_contact(
    State(app): State<App>,
    caller: Caller<Ingest>,
    JsonBody(body): JsonBody<ContactIn>,
) -> Result<Json<ContactPutOut>, ApiError> {
    let properties = body.properties.unwrap_or_default();
    let identity = NewIdentity {
        external_id: body.user_id,
        email: body.email,
        anonymous_id: body.anonymous_id,
        ..NewIdentity::default()
    };
    let identity = names(identity, &properties, true)?;
    let lists = body.lists.unwrap_or_default();
    let issues = list_issues(&lists);
    if !issues.is_empty() {
        return Err(ApiError::validation(&issues));
    }
    let mut asked = Asked::read(app.catalog().lists(), &lists, body.consent == Some(true));
    let put = ingest::put_contact(&app, &identity, &properties).await?;
    if !asked.decisions.is_empty() {
        let subject = Subject::contact(put.contact.id);
        let grounds = Grounds {
            by: caller.actor.by(),
            ..Grounds::new(Source::Api, "lists of PUT /v1/contacts")
        };
        // In a transaction of its own, since it locks every contact with this address.
        let outcomes = ingest::change_consent(&app, &subject, &asked.decisions, &grounds).await?;
        asked.note(&outcomes);
    }
    Ok(Json(ContactPutOut {
        id: put.contact.id,
        created: put.created,
        linked: put.linked,
        lists_error: asked.error(),
    }))
}

/// A single issue for all invalid list ids of a body.
pub(crate) fn list_issues(lists: &BTreeMap<String, bool>) -> Vec<Issue> {
    let wrong = lists.keys().find_map(|id| list_issue(id));
    let wrong = wrong.map(|message| Issue::new("lists", message));
    wrong.into_iter().collect()
}

#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct FindQuery {
    email: Option<String>,
    user_id: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct FoundOut {
    contacts: Vec<ContactOut>,
}

/// Finds contacts by email address or by the product's id.
#[utoipa::path(
    get, path = "/v1/contacts/find", tag = "contacts",
    security(("key" = ["read"]), ("key" = ["ingest"])),
    params(FindQuery),
    responses((status = 200, description = "The matching contacts; empty if there are none", body = FoundOut), (status = 400, response = BadRequest)),
)]
pub async fn find_contacts(
    State(app): State<App>,
    _: Caller<LookUp>,
    Query(query): Query<FindQuery>,
) -> Result<Json<FoundOut>, ApiError> {
    if query.email.is_none() && query.user_id.is_none() {
        return Err(ApiError::validation(&[Issue::new(
            "",
            "email or userId is required",
        )]));
    }
    let mut conn = app.db.conn().await?;
    let found =
        db::contacts_find(&mut conn, query.user_id.as_deref(), query.email.as_deref()).await?;
    Ok(Json(FoundOut {
        contacts: found.into_iter().map(ContactOut::from).collect(),
    }))
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EraseIn {
    email: Option<String>,
    user_id: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct ErasedOut {
    /// False if there was nothing to delete.
    pub deleted: bool,
}

/// Erases a contact: identity, events, runs, logs and rendered mail.
///
/// A keyed hash of the address stays on the suppression list.
#[utoipa::path(
    delete, path = "/v1/contacts", tag = "contacts",
    security(("key" = ["ingest"])),
    request_body = EraseIn,
    responses((status = 200, description = "The contact is erased, or did not exist", body = ErasedOut), (status = 400, response = BadRequest)),
)]
pub async fn delete_contact(
    State(app): State<App>,
    _: Caller<Ingest>,
    JsonBody(body): JsonBody<EraseIn>,
) -> Result<Json<ErasedOut>, ApiError> {
    let identity = NewIdentity {
        external_id: body.user_id,
        email: body.email,
        ..NewIdentity::default()
    };
    let identity = names(identity, &Properties::new(), false)?;
    let (id, email) = (identity.external_id.as_deref(), identity.email.as_deref());
    let erased = contacts::erase(&app, id, email).await?;
    Ok(Json(ErasedOut {
        deleted: erased > 0,
    }))
}
