//! The state of the delivery providers.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::db::Hold;
use crate::http::ApiError;
use crate::http::auth::{Caller, Read};
use crate::http::wire::openapi::Routes;
use crate::http::wire::words::{MailPurpose, ProviderHold, ProviderStatus};
use crate::mail::{self, ProviderState, Route};
use utoipa_axum::routes;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new().routes(routes!(list_providers))
}

/// An active delivery provider.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProviderStateOut {
    id: String,
    /// The mail it takes.
    #[schema(value_type = Vec<MailPurpose>)]
    purposes: Vec<&'static str>,
    /// `blocked`: an operator has to act. `resting`: the provider takes mail again by itself.
    #[schema(value_type = ProviderStatus)]
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<DateTime<Utc>>,
    /// When the next mail tests the provider, or when a rate limit ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<DateTime<Utc>>,
    /// Why the provider takes no mail for now, the most severe reason first.
    holds: Vec<ProviderHoldOut>,
}

/// Mail that a provider does not take for now. It stays queued until the provider takes it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProviderHoldOut {
    #[schema(value_type = ProviderHold)]
    kind: &'static str,
    /// The sender whose mail is affected; absent if all mail is.
    #[serde(skip_serializing_if = "Option::is_none")]
    sender: Option<String>,
    /// The provider's message.
    reason: String,
    since: DateTime<Utc>,
    until: DateTime<Utc>,
}

impl From<Hold> for ProviderHoldOut {
    fn from(hold: Hold) -> Self {
        Self {
            kind: hold.kind.name(),
            sender: Some(hold.sender).filter(|sender| !sender.is_empty()),
            reason: hold.reason,
            since: hold.since,
            until: hold.until,
        }
    }
}

impl From<ProviderState> for ProviderStateOut {
    fn from(state: ProviderState) -> Self {
        Self {
            state: state.taking().name(),
            reason: state.reason(),
            since: state.since(),
            until: state.until(),
            purposes: state
                .purposes
                .iter()
                .map(|purpose| purpose.name())
                .collect(),
            id: state.id,
            holds: state.holds.into_iter().map(ProviderHoldOut::from).collect(),
        }
    }
}

/// Who sends mail of one purpose.
#[derive(Serialize, ToSchema)]
pub struct MailRouteOut {
    #[schema(value_type = MailPurpose)]
    purpose: &'static str,
    /// The ids of its providers, in order of preference.
    providers: Vec<String>,
    /// Its sender, unless a call names another.
    sender: String,
}

impl From<Route> for MailRouteOut {
    fn from(route: Route) -> Self {
        Self {
            purpose: route.purpose.name(),
            providers: route.providers,
            sender: route.sender,
        }
    }
}

#[derive(Serialize, ToSchema)]
pub struct ProvidersOut {
    /// One for each purpose.
    routes: Vec<MailRouteOut>,
    providers: Vec<ProviderStateOut>,
    total: usize,
    limit: usize,
    offset: usize,
}

/// Lists the active delivery providers, whether each takes mail, and which of them take lifecycle and
/// transactional mail in which order, without pagination.
#[utoipa::path(
    get, path = "/v1/admin/providers", tag = "emails",
    security(("key" = ["read"]), ("session" = [])),
    responses((status = 200, description = "Every active provider", body = ProvidersOut)),
)]
pub async fn list_providers(
    State(app): State<App>,
    _: Caller<Read>,
) -> Result<Json<ProvidersOut>, ApiError> {
    let mut conn = app.db.report().await?;
    let states = mail::provider_states(&app, &mut conn, app.clock.now()).await?;
    let providers: Vec<_> = states.into_iter().map(ProviderStateOut::from).collect();
    Ok(Json(ProvidersOut {
        routes: mail::routes(&app).map(MailRouteOut::from).into(),
        total: providers.len(),
        limit: providers.len(),
        offset: 0,
        providers,
    }))
}
