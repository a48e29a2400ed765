//! Hogsend: product events in, durable journeys, mail out.
//!
//! The entry points [`http`], [`worker`] and [`cli`] call the modules, which depend on each other in one
//! direction: [`contacts`] ← [`enrolment`] ← [`ingest`] ← [`mail`] ← [`runs`]. Modules access the
//! database through [`db`] and plugins through [`plugins`].

mod accounts;
mod alerts;
pub mod app;
pub mod audit;
mod backoff;
pub mod cache;
pub mod calls;
pub mod catalog;
pub mod cli;
pub mod clock;
pub mod config;
pub mod contacts;
pub mod context;
pub mod crew;
pub mod db;
mod dead_letters;
mod durations;
pub mod enrolment;
mod event_names;
pub mod foreign;
pub mod http;
pub mod http_client;
pub mod ids;
pub mod ingest;
pub mod installed;
mod keys;
mod limits;
mod linked_plugins;
pub mod loops;
pub mod mail;
pub mod mailbox;
mod nearest;
pub mod plugins;
mod private;
mod refusals;
mod run_ended;
pub mod runs;
pub mod signed_link;
pub mod states;
pub mod telemetry;
pub mod templates;
mod webhooks;
pub mod worker;
