//! Leaving a mailing, by the signed link in a mail.

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;

use super::ApiError;
use super::page::{escape, page};
use crate::app::App;
use crate::contacts;
use crate::db;
use crate::mail::{Action, Token, TokenError};

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Link {
    /// The signed token of the link.
    #[serde(default)]
    #[param(required = true)]
    token: String,
}

/// Shows one button and changes nothing: link scanners follow links.
#[utoipa::path(
    get, path = "/v1/email/unsubscribe", tag = "recipients", params(Link),
    responses((status = 200, description = "A page with one button", body = String, content_type = "text/html"), (status = 400, description = "A page: the link is not valid or has expired", body = String, content_type = "text/html")),
)]
pub async fn show_unsubscribe(State(app): State<App>, Query(link): Query<Link>) -> Response {
    let token = match read(&app, &link) {
        Ok(token) => token,
        Err(error) => return refused(error),
    };
    let body = format!(
        "<h1>Unsubscribe?</h1><p>{} will no longer receive {}.</p>\
         <form method=\"post\" action=\"?token={}\"><button>Unsubscribe</button></form>",
        escape(token.email.as_deref().unwrap_or("You")),
        what(&token),
        escape(&link.token),
    );
    page(StatusCode::OK, "Unsubscribe", "card", &body)
}

/// Unsubscribes. The body does not matter: mail clients post `List-Unsubscribe=One-Click` as a
/// form, multipart or not, without cookies, and follow no redirect (RFC 8058 §3.1, §3.2).
#[utoipa::path(
    post, path = "/v1/email/unsubscribe", tag = "recipients", params(Link),
    responses((status = 200, description = "A page: unsubscribed", body = String, content_type = "text/html"), (status = 400, description = "A page: the link is not valid or has expired", body = String, content_type = "text/html")),
)]
pub async fn unsubscribe(
    State(app): State<App>,
    Query(link): Query<Link>,
) -> Result<Response, ApiError> {
    let token = match read(&app, &link) {
        Ok(token) => token,
        Err(error) => return Ok(refused(error)),
    };
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    let contacts = contacts::named(
        &mut tx,
        token.external_id.as_deref(),
        token.email.as_deref(),
    )
    .await?;
    for contact in &contacts {
        match &token.category {
            Some(category) => {
                db::preferences_set_category(&mut tx, contact.id, category, false, now).await?;
            }
            None => db::preferences_set_all(&mut tx, contact.id, true, now).await?,
        }
    }
    tx.commit().await?;
    tracing::info!(
        contacts = contacts.len(),
        category = token.category,
        "unsubscribed by link"
    );
    let body = format!(
        "<h1>You are unsubscribed</h1><p>{} will no longer receive {}.</p>",
        escape(token.email.as_deref().unwrap_or("You")),
        what(&token),
    );
    Ok(page(StatusCode::OK, "Unsubscribed", "card", &body))
}

fn read(app: &App, link: &Link) -> Result<Token, TokenError> {
    let token = app.unsubscribe.verify(&link.token, app.clock.now())?;
    if token.action == Action::Unsubscribe {
        Ok(token)
    } else {
        Err(TokenError::Invalid)
    }
}

fn what(token: &Token) -> String {
    match &token.category {
        Some(category) => format!("<b>{}</b> e-mails", escape(category)),
        None => "our e-mails".into(),
    }
}

fn refused(error: TokenError) -> Response {
    let body = format!("<h1>This link does not work</h1><p>{error}</p>");
    page(StatusCode::BAD_REQUEST, "Link does not work", "card", &body)
}
