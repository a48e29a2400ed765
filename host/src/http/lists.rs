//! Lists: the categories of mail people are on or not.

use axum::Json;
use axum::extract::State;
use hogsend_plugin_api::Properties;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ApiError;
use super::auth::{Caller, FullAdmin, Read};
use super::body::JsonBody;
use super::openapi::{BadRequest, NotFound};
use super::params::Path;
use super::people::names;
use super::unsubscribe::TOLD;
use crate::app::App;
use crate::contacts::{self, Decision};
use crate::db::{NewIdentity, Preferences};

#[derive(Serialize, ToSchema)]
pub struct ListOut {
    #[schema(example = "journey")]
    id: String,
    /// As recipients read it.
    name: String,
}

#[derive(Serialize, ToSchema)]
pub struct ListsOut {
    lists: Vec<ListOut>,
}

/// Lists the categories of this installation's journeys and templates that people may leave.
#[utoipa::path(
    get, path = "/v1/lists", tag = "contacts",
    security(("key" = ["read"])),
    responses((status = 200, description = "Every list", body = ListsOut)),
)]
pub async fn list_lists(
    State(app): State<App>,
    _: Caller<Read>,
) -> Result<Json<ListsOut>, ApiError> {
    let lists = contacts::choices(&app, &Preferences::default());
    let lists = lists.into_iter().map(|choice| ListOut {
        id: choice.id,
        name: choice.title,
    });
    Ok(Json(ListsOut {
        lists: lists.collect(),
    }))
}

/// A person, named by `email` or `userId`.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MemberIn {
    email: Option<String>,
    user_id: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct MemberOut {
    list: String,
    subscribed: bool,
}

/// Puts a person on a list; someone new becomes a contact.
#[utoipa::path(
    post, path = "/v1/lists/{id}/subscribe", tag = "contacts",
    security(("key" = ["full-admin"])),
    params(("id" = String, Path)),
    request_body = MemberIn,
    responses((status = 200, description = "The person is on it", body = MemberOut), (status = 400, response = BadRequest), (status = 404, response = NotFound)),
)]
pub async fn join_list(
    State(app): State<App>,
    _: Caller<FullAdmin>,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<MemberIn>,
) -> Result<Json<MemberOut>, ApiError> {
    set(&app, id, body, true).await
}

/// Takes a person off a list. Mails of its category no longer go to them.
#[utoipa::path(
    post, path = "/v1/lists/{id}/unsubscribe", tag = "contacts",
    security(("key" = ["full-admin"])),
    params(("id" = String, Path)),
    request_body = MemberIn,
    responses((status = 200, description = "The person is not on it", body = MemberOut), (status = 400, response = BadRequest), (status = 404, response = NotFound)),
)]
pub async fn leave_list(
    State(app): State<App>,
    _: Caller<FullAdmin>,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<MemberIn>,
) -> Result<Json<MemberOut>, ApiError> {
    set(&app, id, body, false).await
}

async fn set(
    app: &App,
    id: String,
    body: MemberIn,
    subscribed: bool,
) -> Result<Json<MemberOut>, ApiError> {
    let known = contacts::choices(app, &Preferences::default());
    if !known.iter().any(|choice| choice.id == id) {
        return Err(ApiError::not_found("List not found"));
    }
    let identity = NewIdentity {
        external_id: body.user_id,
        email: body.email,
        anonymous_id: None,
    };
    let identity = names(app, identity, &Properties::new(), false)?;
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    let put = contacts::put(&mut tx, &identity, Properties::new(), now).await?;
    let put = put.ok_or_else(|| ApiError::unavailable("The contact was not stored", 1))?;
    let decision = Decision::Category {
        id: id.clone(),
        subscribed,
    };
    contacts::decide(app, &mut tx, put.contact.id, &[decision], now).await?;
    app.db.commit_and_wake(tx, &TOLD).await?;
    Ok(Json(MemberOut {
        list: id,
        subscribed,
    }))
}
