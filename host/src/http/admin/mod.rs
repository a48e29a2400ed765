//! Administration, under `/v1/admin`.

pub mod api_keys;
pub mod audit_logs;
pub mod emails;
