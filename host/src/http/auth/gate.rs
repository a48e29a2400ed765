//! The gate around a group of routes: who calls, and how often.

use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;

use super::bearer::by_key;
use super::{Actor, Scope};
use crate::app::App;
use crate::http::ApiError;

/// Groups of routes that share callers and limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Events and contacts, from the product's own code.
    Data,
    /// Mails the product's own code sends.
    Emails,
    /// Administration, by key or session.
    Admin,
}

/// A caller a gate let in.
#[derive(Clone)]
pub struct Known {
    pub actor: Actor,
    pub scopes: Vec<Scope>,
}

/// Lets known callers pass and refuses others with 401.
pub async fn gate(
    State((app, gate)): State<(App, Gate)>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let (mut parts, body) = request.into_parts();
    let known = identify(&app, gate, &parts).await?;
    parts.extensions.insert(known);
    Ok(next.run(Request::from_parts(parts, body)).await)
}

async fn identify(app: &App, gate: Gate, request: &Parts) -> Result<Known, ApiError> {
    if let Some(known) = open_ingest(app, gate).await? {
        return Ok(known);
    }
    if let Some(known) = by_key(app, &request.headers).await? {
        return Ok(known);
    }
    Err(ApiError::unauthorized())
}

/// In development, while no key is configured at all, everybody may bring events in.
async fn open_ingest(app: &App, gate: Gate) -> Result<Option<Known>, ApiError> {
    if gate != Gate::Data || app.config.production || app.config.admin_api_key.is_some() {
        return Ok(None);
    }
    if app.keys.any(&app.db).await? {
        return Ok(None);
    }
    Ok(Some(Known {
        actor: Actor::Anyone,
        scopes: vec![Scope::Ingest],
    }))
}
