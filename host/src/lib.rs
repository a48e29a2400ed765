//! Hogsend: product events in, durable journeys, mail out.
//!
//! Two doors, [`http`] and [`worker`], call four rooms, [`ingest`], [`contacts`], [`journeys`] and
//! [`mail`]. Rooms call one store, [`db`], and one edge, [`plugins`].

mod accounts;
mod alerts;
pub mod app;
pub mod audit;
mod backoff;
pub mod calls;
pub mod cli;
pub mod clock;
pub mod config;
pub mod contacts;
pub mod crew;
pub mod db;
mod event_names;
pub mod foreign;
pub mod http;
pub mod ids;
pub mod ingest;
pub mod issue;
pub mod journeys;
mod keys;
mod limits;
mod linked;
pub mod loops;
pub mod mail;
mod nearest;
pub mod plugins;
mod private;
mod refusals;
pub mod telemetry;
pub mod templates;
mod webhooks;
pub mod worker;
