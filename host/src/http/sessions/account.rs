//! The account of the signed-in user: name, password, sessions.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::wire::{AuthErrorOut, ChangedPasswordOut, SessionOut, StatusOut};
use super::{SignUpRefusal, guard, password_refusal, private, refuse, untrusted};
use crate::accounts::{self, ChangeError, Session};
use crate::app::App;
use crate::http::ApiError;
use crate::http::auth::{no_cookie, origin_is_trusted, session_cookie, session_token};
use crate::http::wire::body::JsonBody;
use crate::http::wire::openapi::Routes;
use utoipa_axum::routes;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new()
        .routes(routes!(change_password))
        .routes(routes!(update_user))
        .routes(routes!(list_sessions))
        .routes(routes!(revoke_session))
        .routes(routes!(revoke_other_sessions))
        .routes(routes!(revoke_sessions))
}

/// The session of the request; 401 where there is none.
async fn current(app: &App, parts: &Parts) -> Result<Result<Session, Response>, ApiError> {
    if !origin_is_trusted(app, parts) {
        return Ok(Err(untrusted()));
    }
    let found = match session_token(app, &parts.headers) {
        Some(token) => {
            let mut conn = app.db.conn().await?;
            accounts::find_session(&mut conn, &token, app.clock.now()).await?
        }
        None => None,
    };
    Ok(found.ok_or_else(|| refuse(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "Unauthorized")))
}

/// Evaluates to the session, or returns 401 if nobody is signed in.
macro_rules! signed_in {
    ($app:expr, $parts:expr) => {
        match current($app, $parts).await? {
            Ok(session) => session,
            Err(refusal) => return Ok(refusal),
        }
    };
}

fn done() -> Response {
    let mut response = Json(StatusOut { status: true }).into_response();
    private(&mut response, None);
    response
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangePasswordIn {
    #[schema(min_length = 8, max_length = 128)]
    new_password: String,
    current_password: String,
    /// True ends all sessions of the user and starts a new one that replaces the current one.
    revoke_other_sessions: Option<bool>,
}

/// Changes the password of the signed-in user.
#[utoipa::path(
    post, path = "/api/auth/change-password", tag = "sessions", request_body = ChangePasswordIn,
    responses(
        (status = 200, description = "The password is changed; sets the cookie of a new session if the others ended", body = ChangedPasswordOut),
        (status = 400, description = "The current password is wrong, or the new one is not valid", body = SignUpRefusal),
        (status = 401, description = "Nobody is signed in", body = AuthErrorOut),
        (status = 403, description = "The page's origin is not trusted", body = AuthErrorOut),
        (status = 429, description = "More than ten attempts within a minute from one address", body = AuthErrorOut),
    ),
)]
pub async fn change_password(
    State(app): State<App>,
    parts: Parts,
    JsonBody(body): JsonBody<ChangePasswordIn>,
) -> Result<Response, ApiError> {
    let session = signed_in!(&app, &parts);
    if let Some(refusal) = guard(&app, &parts).await {
        return Ok(refusal);
    }
    let now = app.clock.now();
    let passwords = (&*body.current_password, &*body.new_password);
    let alone = body.revoke_other_sessions == Some(true);
    let changed =
        accounts::change_password(&app.db, &app.passwords, &session, passwords, alone, now).await;
    let fresh = match changed {
        Ok(fresh) => fresh,
        Err(ChangeError::Wrong) => {
            let status = StatusCode::BAD_REQUEST;
            return Ok(refuse(status, "INVALID_PASSWORD", "Invalid password"));
        }
        Err(ChangeError::Password(error)) => return password_refusal(error),
        Err(ChangeError::Database(error)) => return Err(error.into()),
    };
    let cookie = fresh.as_ref().map(|fresh| session_cookie(&app, fresh, now));
    let out = ChangedPasswordOut {
        token: fresh.map(|fresh| fresh.token),
        user: session.user.into(),
    };
    let mut response = Json(out).into_response();
    private(&mut response, cookie);
    Ok(response)
}

#[derive(Deserialize, ToSchema)]
pub struct UpdateUserIn {
    name: Option<String>,
    /// Not accepted: the address cannot be changed.
    #[schema(value_type = Option<String>)]
    email: Option<Value>,
}

/// Changes the name of the signed-in user.
#[utoipa::path(
    post, path = "/api/auth/update-user", tag = "sessions", request_body = UpdateUserIn,
    responses(
        (status = 200, description = "The name is changed", body = StatusOut),
        (status = 400, description = "There is nothing to change, or the field cannot be changed", body = SignUpRefusal),
        (status = 401, description = "Nobody is signed in", body = AuthErrorOut),
        (status = 403, description = "The page's origin is not trusted", body = AuthErrorOut),
    ),
)]
pub async fn update_user(
    State(app): State<App>,
    parts: Parts,
    JsonBody(body): JsonBody<UpdateUserIn>,
) -> Result<Response, ApiError> {
    let session = signed_in!(&app, &parts);
    let bad = StatusCode::BAD_REQUEST;
    if body.email.is_some_and(|email| !email.is_null()) {
        return Ok(refuse(
            bad,
            "EMAIL_CAN_NOT_BE_UPDATED",
            "Email can not be updated",
        ));
    }
    let Some(name) = body.name else {
        return Ok(refuse(bad, "BAD_REQUEST", "No fields to update"));
    };
    if name.chars().count() > 200 {
        return Ok(refuse(
            bad,
            "BAD_REQUEST",
            "The name is longer than 200 characters",
        ));
    }
    accounts::rename(&app.db, &session, &name, app.clock.now()).await?;
    Ok(done())
}

/// Lists the sessions of the signed-in user. Only the current session has its real token; those of
/// the others are references that can only be used to revoke them.
#[utoipa::path(
    get, path = "/api/auth/list-sessions", tag = "sessions",
    responses(
        (status = 200, description = "The sessions, newest first", body = Vec<SessionOut>),
        (status = 401, description = "Nobody is signed in", body = AuthErrorOut),
    ),
)]
pub async fn list_sessions(State(app): State<App>, parts: Parts) -> Result<Response, ApiError> {
    let session = signed_in!(&app, &parts);
    let all = accounts::sessions(&app.db, &session, app.clock.now()).await?;
    let all: Vec<SessionOut> = all.into_iter().map(SessionOut::from).collect();
    let mut response = Json(all).into_response();
    private(&mut response, None);
    Ok(response)
}

#[derive(Deserialize, ToSchema)]
pub struct RevokeIn {
    /// The token as returned by `list-sessions`.
    token: String,
}

/// Revokes one session of the signed-in user. Sessions of other users are not affected.
#[utoipa::path(
    post, path = "/api/auth/revoke-session", tag = "sessions", request_body = RevokeIn,
    responses(
        (status = 200, description = "The user has no such session any longer", body = StatusOut),
        (status = 400, response = crate::http::wire::openapi::BadRequest),
        (status = 401, description = "Nobody is signed in", body = AuthErrorOut),
        (status = 403, description = "The page's origin is not trusted", body = AuthErrorOut),
    ),
)]
pub async fn revoke_session(
    State(app): State<App>,
    parts: Parts,
    JsonBody(body): JsonBody<RevokeIn>,
) -> Result<Response, ApiError> {
    let session = signed_in!(&app, &parts);
    let mut response = done();
    if accounts::revoke(&app.db, &session, &body.token).await? {
        private(&mut response, Some(no_cookie(&app)));
    }
    Ok(response)
}

/// Revokes all sessions of the signed-in user except the current one.
#[utoipa::path(
    post, path = "/api/auth/revoke-other-sessions", tag = "sessions",
    responses(
        (status = 200, description = "Only the current session is left", body = StatusOut),
        (status = 401, description = "Nobody is signed in", body = AuthErrorOut),
        (status = 403, description = "The page's origin is not trusted", body = AuthErrorOut),
    ),
)]
pub async fn revoke_other_sessions(
    State(app): State<App>,
    parts: Parts,
) -> Result<Response, ApiError> {
    let session = signed_in!(&app, &parts);
    accounts::revoke_all(&app.db, &session, false).await?;
    Ok(done())
}

/// Revokes all sessions of the signed-in user, including the current one.
#[utoipa::path(
    post, path = "/api/auth/revoke-sessions", tag = "sessions",
    responses(
        (status = 200, description = "All sessions are revoked", body = StatusOut),
        (status = 401, description = "Nobody is signed in", body = AuthErrorOut),
        (status = 403, description = "The page's origin is not trusted", body = AuthErrorOut),
    ),
)]
pub async fn revoke_sessions(State(app): State<App>, parts: Parts) -> Result<Response, ApiError> {
    let session = signed_in!(&app, &parts);
    accounts::revoke_all(&app.db, &session, true).await?;
    let mut response = done();
    private(&mut response, Some(no_cookie(&app)));
    Ok(response)
}
