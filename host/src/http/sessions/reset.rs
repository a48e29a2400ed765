//! Resetting a password by a link in a mail.

use axum::Json;
use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::wire::{AuthErrorOut, SentOut, StatusOut};
use super::{
    SignUpRefusal, guard, invalid_callback, leads_home, password_refusal, private, refuse,
};
use crate::accounts::{self, PasswordError, ResetError};
use crate::app::App;
use crate::http::ApiError;
use crate::http::wire::body::{Fields, JsonBody, Raw};
use crate::http::wire::openapi::Routes;
use crate::http::wire::page::{escape, page};
use crate::http::wire::params::{Name, Path, Query};
use utoipa_axum::routes;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new()
        .routes(routes!(request_password_reset))
        .routes(routes!(reset_password))
        .routes(routes!(follow_reset_link, submit_reset_form))
}

/// The response whether or not the user exists.
const SENT: &str = "If this email exists in our system, check your email for the reset link";

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequestResetIn {
    email: String,
    /// The page that asks for the new password: a path, or a URL of a trusted origin. It receives
    /// `token` or `error`. By default the link leads to a page of this server.
    redirect_to: Option<String>,
}

/// Sends a password-reset link to the administrator with this address, at most once a minute.
///
/// The link works once, within an hour. The response is the same whether or not the user exists.
#[utoipa::path(
    post, path = "/api/auth/request-password-reset", tag = "sessions", request_body = RequestResetIn,
    responses(
        (status = 200, description = "If the user exists, a mail is sent", body = SentOut),
        (status = 400, response = crate::http::wire::openapi::BadRequest),
        (status = 403, description = "The page's origin or that of redirectTo is not trusted", body = AuthErrorOut),
        (status = 429, description = "More than ten attempts within a minute from one address", body = AuthErrorOut),
    ),
)]
pub async fn request_password_reset(
    State(app): State<App>,
    parts: Parts,
    JsonBody(body): JsonBody<RequestResetIn>,
) -> Result<Response, ApiError> {
    if let Some(refusal) = guard(&app, &parts).await {
        return Ok(refusal);
    }
    let redirect = body.redirect_to.unwrap_or_default();
    if !redirect.is_empty() && !leads_home(&app, &redirect) {
        return Ok(invalid_callback(
            "INVALID_REDIRECT_URL",
            "Invalid redirectURL",
        ));
    }
    let now = app.clock.now();
    // In the background, so that the response time does not reveal whether the user exists.
    tokio::spawn(async move {
        let base = app.config.access.auth_url.trim_end_matches('/').to_owned();
        let callback: String = form_urlencoded::byte_serialize(redirect.as_bytes()).collect();
        let link = |token: &str| {
            let query = if callback.is_empty() {
                ""
            } else {
                "?callbackURL="
            };
            format!("{base}/api/auth/reset-password/{token}{query}{callback}")
        };
        if let Err(error) = accounts::send_reset(&app, &body.email, link, now).await {
            tracing::error!(%error, "a password-reset link could not be sent");
        }
    });
    let mut response = Json(SentOut {
        status: true,
        message: SENT,
    })
    .into_response();
    private(&mut response, None);
    Ok(response)
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ResetLinkQuery {
    #[serde(rename = "callbackURL")]
    #[param(rename = "callbackURL")]
    callback_url: Option<String>,
}

/// The target of the link in the mail. Redirects to the page that asks for the new password, with the
/// token, or shows a form if no such page was given.
#[utoipa::path(
    get, path = "/api/auth/reset-password/{token}", tag = "sessions",
    params(("token" = String, Path), ResetLinkQuery),
    responses(
        (status = 200, description = "A form that asks for the new password", body = String, content_type = "text/html"),
        (status = 302, description = "Redirect to the page that asks for the new password, with `token` or `error`"),
        (status = 400, description = "The link has expired or was used", body = String, content_type = "text/html"),
        (status = 403, description = "The origin of callbackURL is not trusted", body = AuthErrorOut),
    ),
)]
pub async fn follow_reset_link(
    State(app): State<App>,
    Path(Name(token)): Path<Name>,
    Query(query): Query<ResetLinkQuery>,
) -> Result<Response, ApiError> {
    let callback = query.callback_url.unwrap_or_default();
    if !callback.is_empty() && !leads_home(&app, &callback) {
        return Ok(invalid_callback(
            "INVALID_CALLBACK_URL",
            "Invalid callbackURL",
        ));
    }
    let now = app.clock.now();
    let works = {
        let mut conn = app.db.conn().await?;
        accounts::reset_works(&mut conn, &token, now).await?
    };
    if callback.is_empty() {
        return Ok(if works { form("") } else { expired() });
    }
    let base = reqwest::Url::parse(&app.config.access.auth_url);
    let Ok(mut url) = base.and_then(|base| base.join(&callback)) else {
        return Ok(invalid_callback(
            "INVALID_CALLBACK_URL",
            "Invalid callbackURL",
        ));
    };
    let (name, value) = if works {
        ("token", token.as_str())
    } else {
        ("error", "INVALID_TOKEN")
    };
    url.query_pairs_mut().append_pair(name, value);
    let location =
        HeaderValue::from_str(url.as_str()).map_err(|_| ApiError::not_found("Not found"))?;
    let mut response = (StatusCode::FOUND, [(header::LOCATION, location)]).into_response();
    private(&mut response, None);
    Ok(response)
}

/// Changes the password, from the form of the reset link.
#[utoipa::path(
    post, path = "/api/auth/reset-password/{token}", tag = "sessions",
    params(("token" = String, Path)),
    request_body(content = String, content_type = "application/x-www-form-urlencoded", description = "`newPassword`"),
    responses(
        (status = 200, description = "The password is changed", body = String, content_type = "text/html"),
        (status = 400, description = "The link has expired or was used, or the password is not valid", body = String, content_type = "text/html"),
        (status = 403, description = "The page's origin is not trusted", body = AuthErrorOut),
        (status = 429, description = "More than ten attempts within a minute from one address", body = AuthErrorOut),
    ),
)]
pub async fn submit_reset_form(
    State(app): State<App>,
    parts: Parts,
    headers: HeaderMap,
    Path(Name(token)): Path<Name>,
    Raw(body): Raw,
) -> Result<Response, ApiError> {
    if let Some(refusal) = guard(&app, &parts).await {
        return Ok(refusal);
    }
    let fields = Fields::read(&headers, body).await?;
    let password = fields.first("newPassword").unwrap_or_default();
    let now = app.clock.now();
    match accounts::reset_password(&app.db, &app.passwords, &token, password, now).await {
        Ok(()) => Ok(page(
            StatusCode::OK,
            "Password changed",
            "card",
            "<h1>Your password is changed</h1><p>All sessions have ended: sign in with the new password.</p>",
        )),
        Err(ResetError::Token) => Ok(expired()),
        Err(ResetError::Password(error @ (PasswordError::Short | PasswordError::Long))) => {
            Ok(form(&format!("{error}: use 8 to 128 characters.")))
        }
        Err(ResetError::Password(error)) => password_refusal(error),
        Err(ResetError::Database(error)) => Err(error.into()),
    }
}

fn form(problem: &str) -> Response {
    let (status, note) = match problem {
        "" => (StatusCode::OK, String::new()),
        problem => (
            StatusCode::BAD_REQUEST,
            format!("<p class=\"note\" role=\"alert\">{}</p>", escape(problem)),
        ),
    };
    // The form is posted to the URL of the page itself.
    let body = format!(
        "<h1>Choose a new password</h1>{note}<form method=\"post\"><fieldset>\
         <label for=\"new\">New password, 8 to 128 characters</label><br>\
         <input id=\"new\" name=\"newPassword\" type=\"password\" autocomplete=\"new-password\" \
         minlength=\"8\" required autofocus></fieldset><button>Change the password</button></form>"
    );
    page(status, "Choose a new password", "card", &body)
}

fn expired() -> Response {
    page(
        StatusCode::BAD_REQUEST,
        "This link is over",
        "card",
        "<h1>This link no longer works</h1><p>A link works once, within an hour. Ask for a new \
         one where you sign in.</p>",
    )
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResetIn {
    #[schema(min_length = 8, max_length = 128)]
    new_password: String,
    /// The token of the link in the mail; by default that of the query.
    token: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ResetQuery {
    token: Option<String>,
}

/// Changes the password of the user of a reset link, and ends all their sessions.
#[utoipa::path(
    post, path = "/api/auth/reset-password", tag = "sessions", params(ResetQuery), request_body = ResetIn,
    responses(
        (status = 200, description = "The password is changed", body = StatusOut),
        (status = 400, description = "The link has expired or was used, or the password is not valid", body = SignUpRefusal),
        (status = 403, description = "The page's origin is not trusted", body = AuthErrorOut),
        (status = 429, description = "More than ten attempts within a minute from one address", body = AuthErrorOut),
    ),
)]
pub async fn reset_password(
    State(app): State<App>,
    Query(query): Query<ResetQuery>,
    parts: Parts,
    JsonBody(body): JsonBody<ResetIn>,
) -> Result<Response, ApiError> {
    if let Some(refusal) = guard(&app, &parts).await {
        return Ok(refusal);
    }
    let token = body.token.or(query.token).unwrap_or_default();
    let now = app.clock.now();
    let reset =
        accounts::reset_password(&app.db, &app.passwords, &token, &body.new_password, now).await;
    match reset {
        Ok(()) => {
            let mut response = Json(StatusOut { status: true }).into_response();
            private(&mut response, None);
            Ok(response)
        }
        Err(ResetError::Token) => {
            let status = StatusCode::BAD_REQUEST;
            Ok(refuse(status, "INVALID_TOKEN", "Invalid token"))
        }
        Err(ResetError::Password(error)) => password_refusal(error),
        Err(ResetError::Database(error)) => Err(error.into()),
    }
}
