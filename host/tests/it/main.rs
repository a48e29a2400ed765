//! The host as its callers see it: real router, real plugins, real Postgres, injected clock.

mod support;

mod analytics;
mod bad_input;
mod delivery;
mod health;
mod ingest;
mod journeys;
mod kill;
mod main_job;
mod plugins;
mod processes;
mod unsubscribe;
