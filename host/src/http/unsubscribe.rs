//! Leaving a mailing, by the signed link in a mail, and coming back.

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use hogsend_plugin_api::mime;
use serde::Deserialize;
use utoipa::IntoParams;

use super::ApiError;
use super::page::{escape, page};
use crate::app::App;
use crate::contacts::consent::{self, Decision, Grounds, Source};
use crate::db::Conn;
use crate::mail::{Action, Recipient, Token, TokenError, Whom, recipient};

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
pub async fn show_unsubscribe(
    State(app): State<App>,
    Query(link): Query<Link>,
) -> Result<Response, ApiError> {
    let token = match link.read(&app, &ACTIONS) {
        Ok(token) => token,
        Err(error) => return Ok(refused(&app, error)),
    };
    let mut conn = app.db.conn().await?;
    let reader = recipient(&app, &mut conn, &token).await?;
    let category = category(&app, &mut conn, &reader, &token).await?;
    let wants = reader.preferences(&mut conn).await?;
    drop(conn);
    let gets = match &category {
        Some(category) => wants.allow(category),
        None => !wants.unsubscribed_all,
    };
    if token.action == Action::Unsubscribe && !gets {
        // Nobody is asked what they have answered.
        let body = format!(
            "<h1>You are unsubscribed</h1><p>{} does not receive {}.</p>{}{}",
            whom(&reader),
            what(category.as_deref()),
            choose(&app, &reader),
            sender(&app),
        );
        return Ok(page(StatusCode::OK, "You are unsubscribed", "card", &body));
    }
    let (title, button, change) = match token.action {
        Action::Resubscribe => ("Subscribe again?", "Subscribe", "receive"),
        _ => ("Unsubscribe?", "Unsubscribe", "no longer receive"),
    };
    let body = format!(
        "<h1>{title}</h1><p>{} will {change} {}.</p>\
         <form method=\"post\" action=\"?token={}\"><button>{button}</button></form>{}{}",
        whom(&reader),
        what(category.as_deref()),
        escape(&link.token),
        choose(&app, &reader),
        sender(&app),
    );
    Ok(page(StatusCode::OK, button, "card", &body))
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
        Err(error) => return Ok(refused(&app, error)),
    };
    let subscribed = token.action == Action::Resubscribe;
    let now = app.clock.now();
    let mut conn = app.db.conn().await?;
    let reader = recipient(&app, &mut conn, &token).await?;
    let category = category(&app, &mut conn, &reader, &token).await?;
    drop(conn);
    let decision = match category.clone() {
        Some(id) => Decision::Category { id, subscribed },
        None => Decision::All { subscribed },
    };
    let grounds = Grounds::new(Source::Page, "the button of the page");
    consent::change(&app, &reader.subject, &[decision], &grounds).await?;
    let wants = reader.preferences(&mut *app.db.conn().await?).await?;
    tracing::info!(category, subscribed, "changed a subscription by link");
    let gets = match &category {
        Some(category) => wants.allow(category),
        None => !wants.unsubscribed_all,
    };
    let (title, change, back) = match (gets, wants.unsubscribed_all) {
        (true, _) => ("You are subscribed", "receives", Action::Unsubscribe),
        (false, true) if subscribed => (
            "You are still unsubscribed from everything",
            "does not receive",
            Action::Unsubscribe,
        ),
        (false, _) => (
            "You are unsubscribed",
            "no longer receives",
            Action::Resubscribe,
        ),
    };
    let undo = app.unsubscribe.sign(
        &Token {
            whom: Whom::Ids(reader.ids()),
            action: back,
            category: token.category.clone(),
        },
        now,
    );
    let body = format!(
        "<h1>{title}</h1><p>{} {change} {}.</p>\
         <form method=\"post\" action=\"?token={undo}\"><button class=\"quiet\">Undo</button></form>{}{}",
        whom(&reader),
        what(category.as_deref()),
        choose(&app, &reader),
        sender(&app),
    );
    Ok(page(StatusCode::OK, title, "card", &body))
}

/// The category a link is about; one that nothing here has any more stands for everything.
async fn category(
    app: &App,
    conn: &mut Conn,
    reader: &Recipient,
    token: &Token,
) -> Result<Option<String>, ApiError> {
    match &token.category {
        Some(category) => Ok(reader.category(app, conn, category).await?),
        None => Ok(None),
    }
}

fn whom(reader: &Recipient) -> String {
    escape(reader.email.as_deref().unwrap_or("This address"))
}

fn what(category: Option<&str>) -> String {
    match category {
        Some(category) => format!("e-mails of “<b>{}</b>”", escape(&consent::title(category))),
        None => "our e-mails".into(),
    }
}

/// Who sends the mails, and how to write to them.
pub(super) fn sender(app: &App) -> String {
    let Ok(from) = mime::name_addr("sender", &app.config.from_email) else {
        return String::new();
    };
    // What has a meaning of its own in such a link (RFC 6068 §2).
    let to = from.address.replace('%', "%25").replace('?', "%3F");
    let to = to.replace('&', "%26").replace('#', "%23");
    let name = from.name.as_ref().unwrap_or(&from.address);
    format!(
        "<p class=\"muted\">E-mails from <b>{}</b>. <a href=\"mailto:{}\">Write to us</a></p>",
        escape(name),
        escape(&to)
    )
}

/// The way to all the choices.
fn choose(app: &App, reader: &Recipient) -> String {
    let manage = app.unsubscribe.sign(
        &Token {
            whom: Whom::Ids(reader.ids()),
            action: Action::Manage,
            category: None,
        },
        app.clock.now(),
    );
    format!("<p><a href=\"preferences?token={manage}\">Choose what you get</a></p>")
}

pub(super) fn refused(app: &App, error: TokenError) -> Response {
    let body = format!(
        "<h1>This link does not work</h1><p>{error}</p>\
         <p>Nothing was changed. Each of our e-mails ends with a link of its own: use the one of \
         the latest, or write to us.</p>{}",
        sender(app)
    );
    page(StatusCode::BAD_REQUEST, "Link does not work", "card", &body)
}
