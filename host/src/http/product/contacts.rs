//! People, from the product's own code.

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
use crate::db::{self, ContactRow, NewIdentity, Topic, Tx};
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

/// A person.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContactOut {
    pub id: ContactId,
    /// The product's own id.
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

/// A person, named by at least one of `email`, `userId` and `anonymousId`.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContactIn {
    email: Option<String>,
    #[schema(example = "u1")]
    user_id: Option<String>,
    anonymous_id: Option<String>,
    /// Kept beside those there are; null removes one.
    #[schema(value_type = Option<Object>)]
    properties: Option<Properties>,
    /// Id of a list to whether the person is on it. An unknown one is left out and named in
    /// `listsError`, as is one the person left, unless they consent.
    lists: Option<BTreeMap<String, bool>>,
    /// True says that the person consents to joining lists they left; it is audited.
    consent: Option<bool>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContactPutOut {
    id: ContactId,
    created: bool,
    /// A name was new to a person who was known, or two contacts turned out to be one person.
    linked: bool,
    /// What was not done of `lists`.
    #[serde(skip_serializing_if = "Option::is_none")]
    lists_error: Option<String>,
}

/// Makes or changes a person. Names that belonged to two contacts make them one: their events, runs
/// and mails come together, and whatever either of them unsubscribed from stays unsubscribed.
#[utoipa::path(
    put, path = "/v1/contacts", tag = "contacts",
    security(("key" = ["ingest"])),
    request_body = ContactIn,
    responses((status = 200, description = "The person", body = ContactPutOut), (status = 400, response = BadRequest)),
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
    let mut asked = Asked::read(app.catalog.lists(), &lists, body.consent == Some(true));
    let now = app.clock.now();
    let work = async |mut tx: Tx| {
        let given = properties.clone();
        let put = ingest::put(&mut tx, &app.catalog, &identity, given, now).await?;
        let put = put.ok_or_else(|| ApiError::unavailable("The contact was not stored", 1))?;
        [Topic::Runs, Topic::Captures]
            .into_iter()
            .for_each(db::stir);
        Ok::<_, ApiError>((tx, put))
    };
    let put = app.db.transact(work).await?;
    if !asked.decisions.is_empty() {
        let subject = Subject::contact(put.contact.id);
        let grounds = Grounds {
            by: caller.actor.by(),
            ..Grounds::new(Source::Api, "lists of PUT /v1/contacts")
        };
        // Apart from the contact, since it locks everybody who holds the mailbox.
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

/// What is wrong with the ids of lists, once, however many a body brings.
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

/// Finds people by address or by the product's own id.
#[utoipa::path(
    get, path = "/v1/contacts/find", tag = "contacts",
    security(("key" = ["read"]), ("key" = ["ingest"])),
    params(FindQuery),
    responses((status = 200, description = "Everyone of that name; an unknown name finds nobody", body = FoundOut), (status = 400, response = BadRequest)),
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
    /// False where nobody had that name.
    pub deleted: bool,
}

/// Erases a person: identity, events, runs, logs and rendered mail go, a keyed hash of the address
/// stays among the suppressed ones.
#[utoipa::path(
    delete, path = "/v1/contacts", tag = "contacts",
    security(("key" = ["ingest"])),
    request_body = EraseIn,
    responses((status = 200, description = "Nobody has that name any more", body = ErasedOut), (status = 400, response = BadRequest)),
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
    let now = app.clock.now();
    let work = async |mut tx: Tx| {
        let (id, email) = (identity.external_id.as_deref(), identity.email.as_deref());
        let erased = contacts::erase(&app, &mut tx, id, email, now).await?;
        db::Result::Ok((tx, erased))
    };
    let erased = app.db.transact(work).await?;
    Ok(Json(ErasedOut {
        deleted: erased > 0,
    }))
}
