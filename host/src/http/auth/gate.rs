//! The gate around a group of routes: it identifies the caller and limits the rate of requests.

use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::bearer::{by_environment, by_key};
use super::cookie::{session_cookie, session_token};
use super::known::Known;
use super::origin::origin_is_trusted;
use super::{Actor, Scope};
use crate::accounts;
use crate::app::App;
use crate::http::ApiError;
use crate::limits::Quota;

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");

/// Groups of routes that share callers and limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Events from the product's own code.
    Events,
    /// Contacts and lists, from the product's own code. They share the limit of `Events`.
    People,
    /// Mails the product's own code sends.
    Emails,
    /// Administration, by key or session.
    Admin,
}

impl Gate {
    /// The name requests are counted under, and the limit in the settings.
    fn limit(self, app: &App) -> (&'static str, Option<u32>) {
        let access = &app.config.access;
        match self {
            Self::Events | Self::People => ("events", access.events_limit),
            Self::Emails => ("emails", access.emails_limit),
            Self::Admin => ("admin", access.admin_limit),
        }
    }
}

/// Passes requests of known callers on. Refuses others with 401, and too many requests with 429.
pub async fn gate(
    State((app, gate)): State<(App, Gate)>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let (mut parts, body) = request.into_parts();
    let (known, cookie) = identify(&app, gate, &parts).await?;
    let quota = match gate.limit(&app) {
        (class, Some(limit)) => {
            let who = known
                .actor
                .id()
                .unwrap_or_else(|| known.actor.kind().into());
            Some(app.limits.take(class, &who, limit).await)
        }
        (_, None) => None,
    };
    let mut response = match quota.and_then(|quota| quota.refused) {
        Some(seconds) => ApiError::too_many(seconds).into_response(),
        None => {
            parts.extensions.insert(known);
            next.run(Request::from_parts(parts, body)).await
        }
    };
    if let Some(quota) = quota {
        with_quota(&mut response, quota);
    }
    if let Some(cookie) = cookie {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

/// Adds headers with the remaining quota to a response.
pub fn with_quota(response: &mut Response, quota: Quota) {
    let headers = response.headers_mut();
    headers.insert(LIMIT, HeaderValue::from(quota.limit));
    headers.insert(REMAINING, HeaderValue::from(quota.remaining));
}

/// The caller, and the cookie that extends their session.
async fn identify(
    app: &App,
    gate: Gate,
    parts: &Parts,
) -> Result<(Known, Option<HeaderValue>), ApiError> {
    if let Some(known) = by_environment(app, &parts.headers) {
        return Ok((known, None));
    }
    if let Some(known) = open_ingest(app, gate).await? {
        return Ok((known, None));
    }
    if let Some(known) = by_key(app, parts).await? {
        return Ok((known, None));
    }
    if gate == Gate::Admin
        && let Some(found) = by_session(app, parts).await?
    {
        return Ok(found);
    }
    Err(ApiError::unauthorized())
}

/// Whether the request has a valid key or session, for public endpoints that show known callers more.
pub async fn is_known(app: &App, parts: &Parts) -> bool {
    if matches!(by_key(app, parts).await, Ok(Some(_))) {
        return true;
    }
    let Some(token) = session_token(app, &parts.headers) else {
        return false;
    };
    let found = async {
        let mut conn = app.db.conn().await?;
        accounts::find_session(&mut conn, &token, app.clock.now()).await
    };
    matches!(found.await, Ok(Some(_)))
}

/// In development, while no key exists, events are accepted from anyone.
async fn open_ingest(app: &App, gate: Gate) -> Result<Option<Known>, ApiError> {
    // The key that `hogsend dev` created for itself does not count.
    let chosen = app.config.admin_api_key.is_some() && !app.config.development_key;
    let closed = app.config.production || chosen;
    if gate != Gate::Events || closed || app.keys.any(&app.db).await? {
        return Ok(None);
    }
    Ok(Some(Known {
        actor: Actor::Anyone,
        scopes: vec![Scope::Ingest],
    }))
}

/// An administrator's session, used by a page of a trusted origin, has the scope `full-admin`.
async fn by_session(
    app: &App,
    parts: &Parts,
) -> Result<Option<(Known, Option<HeaderValue>)>, ApiError> {
    let Some(token) = session_token(app, &parts.headers) else {
        return Ok(None);
    };
    let now = app.clock.now();
    let mut conn = app.db.conn().await?;
    let Some(mut session) = accounts::find_session(&mut conn, &token, now).await? else {
        return Ok(None);
    };
    if !origin_is_trusted(app, parts) {
        return Err(ApiError::forbidden("Forbidden: untrusted origin"));
    }
    let mut cookie = None;
    if parts.method != Method::HEAD && session.ages(now) {
        if !accounts::extend(&mut conn, &mut session, now).await? {
            return Ok(None);
        }
        cookie = Some(session_cookie(app, &session, now));
    }
    let known = Known {
        actor: Actor::User {
            id: session.user.id,
            email: session.user.email,
        },
        scopes: vec![Scope::FullAdmin],
    };
    Ok(Some((known, cookie)))
}
