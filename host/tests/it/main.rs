//! The host as its callers see it: real router, real plugins, real Postgres, injected clock.

mod support;

mod analytics;
mod bad_input;
mod batches;
mod dead_letters;
mod delivery;
mod erasure;
mod failover;
mod feedback;
mod health;
mod ingest;
mod journeys;
mod kill;
mod kill_journeys;
mod main_job;
mod plugins;
mod policy;
mod processes;
mod simulate;
mod steps;
mod tracking;
mod unsubscribe;
