//! Leaving a mailing, by the signed link in a mail, and coming back.

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;

use super::ApiError;
use super::page::{escape, page};
use crate::app::App;
use crate::contacts::{self, Decision};
use crate::db::Topic;
use crate::mail::{Action, Token, TokenError};

/// Whom a change of preferences concerns: journeys react to it, analytics is told.
pub(super) const TOLD: [Topic; 2] = [Topic::Runs, Topic::Captures];

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Link {
    /// The signed token of the link.
    #[serde(default)]
    #[param(required = true)]
    pub(super) token: String,
}

impl Link {
    /// The token, where it is for one of these actions.
    pub(super) fn read(&self, app: &App, actions: &[Action]) -> Result<Token, TokenError> {
        let token = app.unsubscribe.verify(&self.token, app.clock.now())?;
        if actions.contains(&token.action) {
            Ok(token)
        } else {
            Err(TokenError::Invalid)
        }
    }
}

/// What the links of this page are for.
const ACTIONS: [Action; 2] = [Action::Unsubscribe, Action::Resubscribe];

/// Shows one button and changes nothing: link scanners follow links.
#[utoipa::path(
    get, path = "/v1/email/unsubscribe", tag = "recipients", params(Link),
    responses((status = 200, description = "A page with one button", body = String, content_type = "text/html"), (status = 400, description = "A page: the link is not valid or has expired", body = String, content_type = "text/html")),
)]
pub async fn show_unsubscribe(State(app): State<App>, Query(link): Query<Link>) -> Response {
    let token = match link.read(&app, &ACTIONS) {
        Ok(token) => token,
        Err(error) => return refused(error),
    };
    let (title, button, change) = match token.action {
        Action::Resubscribe => ("Subscribe again?", "Subscribe", "receive"),
        _ => ("Unsubscribe?", "Unsubscribe", "no longer receive"),
    };
    let body = format!(
        "<h1>{title}</h1><p>{} will {change} {}.</p>\
         <form method=\"post\" action=\"?token={}\"><button>{button}</button></form>{}",
        whom(&token),
        what(&token),
        escape(&link.token),
        choose(&app, &token),
    );
    page(StatusCode::OK, button, "card", &body)
}

/// Unsubscribes, or with a link made for that subscribes again. The body does not matter: mail
/// clients post `List-Unsubscribe=One-Click` as a form, multipart or not, without cookies, and
/// follow no redirect (RFC 8058 §3.1, §3.2).
#[utoipa::path(
    post, path = "/v1/email/unsubscribe", tag = "recipients", params(Link),
    responses((status = 200, description = "A page: unsubscribed", body = String, content_type = "text/html"), (status = 400, description = "A page: the link is not valid or has expired", body = String, content_type = "text/html")),
)]
pub async fn unsubscribe(
    State(app): State<App>,
    Query(link): Query<Link>,
) -> Result<Response, ApiError> {
    let token = match link.read(&app, &ACTIONS) {
        Ok(token) => token,
        Err(error) => return Ok(refused(error)),
    };
    let subscribed = token.action == Action::Resubscribe;
    let decision = match &token.category {
        Some(category) => Decision::Category {
            id: category.clone(),
            subscribed,
        },
        None => Decision::All { subscribed },
    };
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    let people = contacts::named(
        &mut tx,
        token.external_id.as_deref(),
        token.email.as_deref(),
    )
    .await?;
    for person in &people {
        contacts::decide(
            &app,
            &mut tx,
            person.id,
            std::slice::from_ref(&decision),
            now,
        )
        .await?;
    }
    app.db.commit_and_wake(tx, &TOLD).await?;
    tracing::info!(
        contacts = people.len(),
        category = token.category,
        subscribed,
        "changed a subscription by link"
    );
    let (title, change, back) = if subscribed {
        ("You are subscribed", "receives", Action::Unsubscribe)
    } else {
        (
            "You are unsubscribed",
            "no longer receives",
            Action::Resubscribe,
        )
    };
    let undo = app.unsubscribe.sign(&Token {
        action: back,
        ..token.clone()
    });
    let body = format!(
        "<h1>{title}</h1><p>{} {change} {}.</p>\
         <form method=\"post\" action=\"?token={undo}\"><button class=\"quiet\">Undo</button></form>{}",
        whom(&token),
        what(&token),
        choose(&app, &token),
    );
    Ok(page(StatusCode::OK, title, "card", &body))
}

fn whom(token: &Token) -> String {
    escape(token.email.as_deref().unwrap_or("This address"))
}

fn what(token: &Token) -> String {
    match &token.category {
        Some(category) => format!("e-mails of “<b>{}</b>”", escape(&contacts::title(category))),
        None => "our e-mails".into(),
    }
}

/// The way to all the choices.
fn choose(app: &App, token: &Token) -> String {
    let manage = app.unsubscribe.sign(&Token {
        action: Action::Manage,
        category: None,
        ..token.clone()
    });
    format!("<p><a href=\"preferences?token={manage}\">Choose what you get</a></p>")
}

pub(super) fn refused(error: TokenError) -> Response {
    let body = format!("<h1>This link does not work</h1><p>{error}</p>");
    page(StatusCode::BAD_REQUEST, "Link does not work", "card", &body)
}
