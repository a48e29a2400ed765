//! Lists: the categories of mail that contacts can subscribe to or leave.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use hogsend_plugin_api::Properties;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::contacts::consent::{self, Asked, Grounds, Outcome, Source, Subject};
use crate::db::{self, NewIdentity, Preferences};
use crate::http::ApiError;
use crate::http::auth::{Actor, Caller, Ingest, LookUp};
use crate::http::wire::body::JsonBody;
use crate::http::wire::names::names;
use crate::http::wire::openapi::Routes;
use crate::http::wire::openapi::{BadRequest, NotFound};
use crate::http::wire::params::{Path, Query};
use crate::ids::ContactId;
use crate::ingest;
use utoipa_axum::routes;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list_lists))
        .routes(routes!(join_list))
        .routes(routes!(leave_list))
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListOut {
    #[schema(example = "journey")]
    id: String,
    /// The name shown to recipients.
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// What sends mails of the list: `journey` or `template`.
    #[schema(example = "journey")]
    kind: &'static str,
    /// Whether contacts get its mails by default.
    default_opt_in: bool,
    /// Whether the contact of the query is subscribed.
    #[serde(skip_serializing_if = "Option::is_none")]
    subscribed: Option<bool>,
}

#[derive(Serialize, ToSchema)]
pub struct ListsOut {
    lists: Vec<ListOut>,
}

/// The contact whose subscriptions to include.
#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct ListsQuery {
    email: Option<String>,
    user_id: Option<String>,
}

/// Lists the categories of mail that contacts can leave, in the order of the plugins. With `email` or
/// `userId`, each list includes whether that contact is subscribed.
#[utoipa::path(
    get, path = "/v1/lists", tag = "contacts",
    security(("key" = ["read"]), ("key" = ["ingest"])),
    params(ListsQuery),
    responses((status = 200, description = "Every list", body = ListsOut), (status = 400, response = BadRequest)),
)]
pub async fn list_lists(
    State(app): State<App>,
    _: Caller<LookUp>,
    Query(query): Query<ListsQuery>,
) -> Result<Json<ListsOut>, ApiError> {
    let wants = match (&query.email, &query.user_id) {
        (None, None) => None,
        _ => Some(wants(&app, &query).await?),
    };
    let catalog = app.catalog();
    let lists = catalog.lists().iter().map(|list| ListOut {
        id: list.id.clone(),
        name: list.name.clone(),
        description: (!list.description.is_empty()).then(|| list.description.clone()),
        kind: list.kind,
        default_opt_in: true,
        subscribed: wants.as_ref().map(|wants| wants.allow(&list.id)),
    });
    Ok(Json(ListsOut {
        lists: lists.collect(),
    }))
}

/// The preferences of a contact, which may be unknown.
async fn wants(app: &App, query: &ListsQuery) -> Result<Preferences, ApiError> {
    let mut conn = app.db.conn().await?;
    let mut found = None;
    if let Some(id) = &query.user_id {
        let all = db::contacts_find(&mut conn, Some(id), None).await?;
        found = all.into_iter().next();
    }
    let email = query.email.clone();
    let email = email.or_else(|| found.as_ref().and_then(|one| one.email.clone()));
    if let (None, Some(email)) = (&found, &email) {
        let all = db::contacts_find(&mut conn, None, Some(email)).await?;
        found = all.into_iter().next();
    }
    let contact = found.map_or(ContactId(uuid::Uuid::nil()), |one| one.id);
    Ok(consent::preferences_at(app, &mut conn, contact, email.as_deref()).await?)
}

/// A contact, identified by `email` or `userId`.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MemberIn {
    email: Option<String>,
    user_id: Option<String>,
    /// True records that the contact consents to rejoin a list they left; it is audited.
    consent: Option<bool>,
}

#[derive(Serialize, ToSchema)]
pub struct MemberOut {
    list: String,
    subscribed: bool,
    /// `left`: the contact left this list, and can rejoin only with `consent: true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

/// Subscribes a contact to a list; an unknown contact is created. A contact or address that left the
/// list can rejoin only with `consent: true`.
#[utoipa::path(
    post, path = "/v1/lists/{id}/subscribe", tag = "contacts",
    security(("key" = ["ingest"])),
    params(("id" = String, Path)),
    request_body = MemberIn,
    responses((status = 200, description = "Whether the contact is on the list", body = MemberOut), (status = 400, response = BadRequest), (status = 404, response = NotFound)),
)]
pub async fn join_list(
    State(app): State<App>,
    caller: Caller<Ingest>,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<MemberIn>,
) -> Result<Json<MemberOut>, ApiError> {
    set(&app, &caller.actor, id, body, true).await
}

/// Removes a contact from a list. Mails of this list no longer go to the contact's address, even if
/// other contacts share it.
#[utoipa::path(
    post, path = "/v1/lists/{id}/unsubscribe", tag = "contacts",
    security(("key" = ["ingest"])),
    params(("id" = String, Path)),
    request_body = MemberIn,
    responses((status = 200, description = "The contact is not on the list", body = MemberOut), (status = 400, response = BadRequest), (status = 404, response = NotFound)),
)]
pub async fn leave_list(
    State(app): State<App>,
    caller: Caller<Ingest>,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<MemberIn>,
) -> Result<Json<MemberOut>, ApiError> {
    set(&app, &caller.actor, id, body, false).await
}

async fn set(
    app: &App,
    actor: &Actor,
    id: String,
    body: MemberIn,
    subscribed: bool,
) -> Result<Json<MemberOut>, ApiError> {
    let changes = BTreeMap::from([(id.clone(), subscribed)]);
    let asked = Asked::read(app.catalog().lists(), &changes, body.consent == Some(true));
    if asked.decisions.is_empty() {
        return Err(ApiError::not_found("List not found"));
    }
    let identity = NewIdentity {
        external_id: body.user_id,
        email: body.email,
        ..NewIdentity::default()
    };
    let identity = names(identity, &Properties::new(), false)?;
    let put = ingest::put_contact(app, &identity, &Properties::new()).await?;
    let subject = Subject::contact(put.contact.id);
    let route = if subscribed {
        "subscribe"
    } else {
        "unsubscribe"
    };
    let grounds = Grounds {
        by: actor.by(),
        ..Grounds::new(Source::Api, format!("POST /v1/lists/{id}/{route}"))
    };
    // In a transaction of its own, since it locks every contact with this address.
    let outcomes = ingest::change_consent(app, &subject, &asked.decisions, &grounds).await?;
    let left = outcomes.contains(&Outcome::Left);
    Ok(Json(MemberOut {
        list: id,
        subscribed: subscribed && !left,
        reason: left.then_some("left"),
    }))
}
