//! Administration, under `/v1/admin`.

pub mod alerts;
pub mod api_keys;
pub mod audit_logs;
pub mod contacts;
pub mod deliveries;
pub mod dlq;
pub mod emails;
pub mod events;
pub mod export;
pub mod import;
pub mod journeys;
mod lookup;
pub mod metrics;
pub mod pauses;
pub mod pending;
pub mod plugins;
pub mod preferences;
pub mod providers;
pub mod states;
pub mod suppression_import;
pub mod suppressions;
pub mod templates;
pub mod webhooks;

use crate::http::wire::openapi::Routes;

/// Every route under `/v1/admin` except file uploads.
pub fn routes() -> Routes {
    Routes::new()
        .merge(alerts::routes())
        .merge(api_keys::routes())
        .merge(audit_logs::routes())
        .merge(contacts::routes())
        .merge(deliveries::routes())
        .merge(dlq::routes())
        .merge(emails::routes())
        .merge(events::routes())
        .merge(export::routes())
        .merge(import::routes())
        .merge(journeys::routes())
        .merge(metrics::routes())
        .merge(pauses::routes())
        .merge(pending::routes())
        .merge(plugins::routes())
        .merge(preferences::routes())
        .merge(providers::routes())
        .merge(states::routes())
        .merge(suppressions::routes())
        .merge(templates::routes())
        .merge(webhooks::routes())
}

/// The routes for file uploads, whose bodies may be larger.
pub fn file_routes() -> Routes {
    Routes::new()
        .merge(import::file_routes())
        .merge(suppression_import::routes())
}
