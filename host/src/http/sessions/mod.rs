//! Signing in by email address and password, with Better Auth's protocol, so that its client works.

pub mod account;
pub mod reset;
mod wire;

use axum::Json;
use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use self::wire::{AuthErrorOut, CurrentOut, SignedInOut};
use super::ApiError;
use super::auth::{
    client_address, counted, is_trusted, no_cookie, origin_is_trusted, session_cookie,
    session_token, with_quota,
};
use super::wire::body::JsonBody;
use super::wire::openapi::{BadRequest, ValidationErrorOut};
use super::wire::params::Query;
use crate::accounts::{
    self, Client, HashError, NewAccount, PasswordError, Session, SignInError, SignUpError,
};
use crate::app::App;
use crate::http::wire::openapi::Routes;
use utoipa_axum::routes;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new()
        .routes(routes!(sign_up))
        .routes(routes!(sign_in))
        .routes(routes!(sign_out))
        .routes(routes!(get_session))
        .merge(account::routes())
        .merge(reset::routes())
}

/// Better Auth's error format, or Hogsend's if the body cannot be read.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its shape is used")]
enum SignUpRefusal {
    Auth(AuthErrorOut),
    Body(ValidationErrorOut),
}

/// Sign-ins and sign-ups per address and 60 s.
const TRIES: u32 = 10;

fn refuse(status: StatusCode, code: &'static str, message: &str) -> Response {
    let body = AuthErrorOut {
        code,
        message: message.into(),
        error: message.into(),
    };
    (status, Json(body)).into_response()
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SignUpIn {
    name: String,
    email: String,
    #[schema(min_length = 8, max_length = 128)]
    password: String,
    /// False ends the session when the browser closes.
    remember_me: Option<bool>,
}

/// Signs up the first administrator and signs them in. In production, and once there is an
/// administrator, sign-up is closed: use `hogsend admin create`.
#[utoipa::path(
    post, path = "/api/auth/sign-up/email", tag = "sessions", request_body = SignUpIn,
    responses(
        (status = 200, description = "Signed up and signed in; sets the session cookie", body = SignedInOut),
        (status = 400, description = "Sign-up is closed, or the address or password is not valid", body = SignUpRefusal),
        (status = 403, description = "The page's origin is not trusted", body = AuthErrorOut),
        (status = 429, description = "More than ten attempts within a minute from one address", body = AuthErrorOut),
    ),
)]
pub async fn sign_up(
    State(app): State<App>,
    parts: Parts,
    JsonBody(body): JsonBody<SignUpIn>,
) -> Result<Response, ApiError> {
    if let Some(refusal) = guard(&app, &parts).await {
        return Ok(refusal);
    }
    let now = app.clock.now();
    let account = NewAccount {
        name: body.name,
        email: body.email,
        password: body.password,
    };
    let client = (client(&app, &parts), body.remember_me != Some(false));
    let signed_up = if app.config.production {
        Err(SignUpError::Closed)
    } else {
        accounts::first_sign_up(&app.db, &app.passwords, account, client, now).await
    };
    let session = match signed_up {
        Ok(session) => session,
        Err(error) => return refuse_sign_up(error),
    };
    tracing::info!(
        user = session.user.email,
        "the first administrator signed up"
    );
    Ok(signed_in(&app, session, None, None, now))
}

fn refuse_sign_up(error: SignUpError) -> Result<Response, ApiError> {
    let bad = StatusCode::BAD_REQUEST;
    let (status, code) = match error {
        SignUpError::Closed => (bad, "EMAIL_PASSWORD_SIGN_UP_DISABLED"),
        SignUpError::Email => (bad, "INVALID_EMAIL"),
        SignUpError::Password(error) => return password_refusal(error),
        SignUpError::Taken => (
            StatusCode::UNPROCESSABLE_ENTITY,
            "USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL",
        ),
        SignUpError::Database(error) => return Err(error.into()),
    };
    Ok(refuse(status, code, &error.to_string()))
}

/// The response to a password that was refused.
fn password_refusal(error: PasswordError) -> Result<Response, ApiError> {
    let code = match &error {
        PasswordError::Short => "PASSWORD_TOO_SHORT",
        PasswordError::Long => "PASSWORD_TOO_LONG",
        PasswordError::Hash(error) => return Err(hash_error(error)),
    };
    Ok(refuse(StatusCode::BAD_REQUEST, code, &error.to_string()))
}

fn hash_error(error: &HashError) -> ApiError {
    match error {
        HashError::Busy => ApiError::unavailable(
            "Too many people are signing in at once",
            accounts::COME_BACK,
        ),
        HashError::Failed(_) => ApiError::internal(error),
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SignInIn {
    email: String,
    password: String,
    /// False ends the session when the browser closes.
    remember_me: Option<bool>,
    /// Where the client continues: a path, or a URL of a trusted origin.
    #[serde(rename = "callbackURL")]
    callback_url: Option<String>,
}

/// Signs an administrator in. A wrong password and an unknown address get the same response.
#[utoipa::path(
    post, path = "/api/auth/sign-in/email", tag = "sessions", request_body = SignInIn,
    responses(
        (status = 200, description = "Signed in; sets the session cookie", body = SignedInOut),
        (status = 400, response = BadRequest),
        (status = 401, description = "The address or the password is wrong", body = AuthErrorOut),
        (status = 403, description = "The page's origin or the callback's is not trusted", body = AuthErrorOut),
        (status = 429, description = "More than ten attempts within a minute from one address", body = AuthErrorOut),
    ),
)]
pub async fn sign_in(
    State(app): State<App>,
    parts: Parts,
    JsonBody(body): JsonBody<SignInIn>,
) -> Result<Response, ApiError> {
    if let Some(refusal) = guard(&app, &parts).await {
        return Ok(refusal);
    }
    if let Some(url) = &body.callback_url
        && !leads_home(&app, url)
    {
        return Ok(invalid_callback(
            "INVALID_CALLBACK_URL",
            "Invalid callbackURL",
        ));
    }
    // Held until the password has been checked.
    let Some(_turn) = app.tries.turn(&app.limits, &body.email).await else {
        return Ok(too_many(accounts::COME_BACK));
    };
    let now = app.clock.now();
    let known = (body.email.as_str(), body.password);
    let client = (client(&app, &parts), body.remember_me != Some(false));
    match accounts::sign_in(&app.db, &app.passwords, known, client, now).await {
        Ok(session) => {
            let redirect = Some(body.callback_url.is_some());
            Ok(signed_in(&app, session, redirect, body.callback_url, now))
        }
        Err(error @ SignInError::Wrong) => Ok(refuse(
            StatusCode::UNAUTHORIZED,
            "INVALID_EMAIL_OR_PASSWORD",
            &error.to_string(),
        )),
        Err(SignInError::Database(error)) => Err(error.into()),
        Err(SignInError::Hash(error)) => Err(hash_error(&error)),
    }
}

fn signed_in(
    app: &App,
    session: Session,
    redirect: Option<bool>,
    url: Option<String>,
    now: DateTime<Utc>,
) -> Response {
    let cookie = session_cookie(app, &session, now);
    let out = SignedInOut {
        redirect,
        token: session.token,
        url,
        user: session.user.into(),
    };
    let mut response = Json(out).into_response();
    private(&mut response, Some(cookie));
    response
}

/// Signs out: ends the session and deletes the cookie.
#[utoipa::path(
    post, path = "/api/auth/sign-out", tag = "sessions",
    responses(
        (status = 200, description = "The session has ended", body = Object, example = json!({ "success": true })),
        (status = 403, description = "The page's origin is not trusted", body = AuthErrorOut),
    ),
)]
pub async fn sign_out(State(app): State<App>, parts: Parts) -> Result<Response, ApiError> {
    if !origin_is_trusted(&app, &parts) {
        return Ok(untrusted());
    }
    if let Some(token) = session_token(&app, &parts.headers) {
        accounts::sign_out(&mut *app.db.conn().await?, &token).await?;
    }
    let mut response = Json(json!({ "success": true })).into_response();
    private(&mut response, Some(no_cookie(&app)));
    Ok(response)
}

#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct GetSessionQuery {
    /// `true` does not extend the session.
    disable_refresh: Option<String>,
}

/// Shows the current session and its user, or null. The session is extended to seven days, at most
/// once a day.
#[utoipa::path(
    get, path = "/api/auth/get-session", tag = "sessions", params(GetSessionQuery),
    responses(
        (status = 200, description = "The session, or null", body = Option<CurrentOut>),
        (status = 400, response = BadRequest),
    ),
)]
pub async fn get_session(
    State(app): State<App>,
    Query(query): Query<GetSessionQuery>,
    parts: Parts,
) -> Result<Response, ApiError> {
    let now = app.clock.now();
    let token = session_token(&app, &parts.headers);
    let mut found = None;
    let mut cookie = None;
    if let Some(token) = &token {
        let mut conn = app.db.conn().await?;
        found = accounts::find_session(&mut conn, token, now).await?;
        let quiet =
            parts.method == Method::HEAD || query.disable_refresh.as_deref() == Some("true");
        if let Some(session) = &mut found
            && !quiet
            && session.ages(now)
        {
            if accounts::extend(&mut conn, session, now).await? {
                cookie = Some(session_cookie(&app, session, now));
            } else {
                found = None;
            }
        }
        if found.is_none() {
            cookie = Some(no_cookie(&app));
        }
    }
    let out = found.map(CurrentOut::from);
    let mut response = Json(out).into_response();
    private(&mut response, cookie);
    Ok(response)
}

/// Refuses requests from pages of untrusted origins, and too many attempts from one address.
async fn guard(app: &App, parts: &Parts) -> Option<Response> {
    if !origin_is_trusted(app, parts) {
        return Some(untrusted());
    }
    let who = counted(client_address(app, parts));
    let quota = app.limits.take("sign-in", &who, TRIES).await;
    let mut refusal = too_many(quota.refused?);
    with_quota(&mut refusal, quota);
    Some(refusal)
}

fn too_many(seconds: u32) -> Response {
    let message = "Too many requests. Please try again later.";
    let mut refusal = refuse(StatusCode::TOO_MANY_REQUESTS, "TOO_MANY_REQUESTS", message);
    let headers = refusal.headers_mut();
    headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    // The header that Better Auth's client reads.
    headers.insert("x-retry-after", HeaderValue::from(seconds));
    refusal
}

fn invalid_callback(code: &'static str, message: &str) -> Response {
    refuse(StatusCode::FORBIDDEN, code, message)
}

fn untrusted() -> Response {
    refuse(StatusCode::FORBIDDEN, "INVALID_ORIGIN", "Invalid origin")
}

/// Whether a redirect target is safe: a path of this site, or a URL of a trusted origin.
fn leads_home(app: &App, url: &str) -> bool {
    let path =
        url.starts_with('/') && !url.starts_with("//") && !url.contains(['\\', '\n', '\r', '\t']);
    path || reqwest::Url::parse(url)
        .is_ok_and(|url| is_trusted(app, &url.origin().ascii_serialization()))
}

fn client(app: &App, parts: &Parts) -> Client {
    let agent = parts.headers.get(header::USER_AGENT);
    let agent = agent.and_then(|agent| agent.to_str().ok());
    Client {
        address: client_address(app, parts).map(|address| address.to_string()),
        agent: agent.map(|agent| agent.chars().take(512).collect()),
    }
}

/// Marks a response as private to this caller.
fn private(response: &mut Response, cookie: Option<HeaderValue>) {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(cookie) = cookie {
        headers.append(header::SET_COOKIE, cookie);
    }
}
