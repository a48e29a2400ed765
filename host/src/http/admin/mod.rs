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
pub mod metrics;
pub mod pending;
pub mod plugins;
pub mod preferences;
pub mod providers;
pub mod states;
pub mod suppression_import;
pub mod suppressions;
pub mod templates;
pub mod webhooks;
