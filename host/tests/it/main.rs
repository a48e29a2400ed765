//! The host as its callers see it: real router, real plugins, real Postgres, injected clock.

mod support;

mod admin_emails;
mod admin_journeys;
mod admin_people;
mod admin_story;
mod analytics;
mod bad_input;
mod batches;
mod data_plane;
mod day;
mod dead_letters;
mod delivery;
mod erasure;
mod failover;
mod feedback;
mod health;
mod http_rules;
mod ingest;
mod journeys;
mod keys;
mod kill;
mod kill_journeys;
mod limits;
mod main_job;
mod openapi;
mod outbound;
mod plugins;
mod policy;
mod preferences;
mod processes;
mod sessions;
mod simulate;
mod steps;
mod tracking;
mod unsubscribe;
