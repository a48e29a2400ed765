//! What a host may offer a plugin beyond the first 1.0.0, by name.
//!
//! A plugin lists what it cannot do without in [`Manifest::needs`](crate::Manifest::needs), and asks
//! [`Settings::host`](crate::Settings::host) for what it can do without.

/// Webhooks are read with a [`Host`](crate::Host) to ask.
pub const WEBHOOK_REQUESTS: &str = "webhook_requests";
/// A webhook may be answered with a response of the plugin's own.
pub const WEBHOOK_ANSWER: &str = "webhook_answer";
/// [`Host::log`](crate::Host::log) reaches the host's log.
pub const LOG: &str = "log";
/// [`Host::deadline`](crate::Host::deadline) is known.
pub const DEADLINE: &str = "deadline";
/// `hogsend plugin check` runs [`Plugin::check`](crate::Plugin::check).
pub const CHECK: &str = "check";
/// `hogsend plugin setup` shows [`Plugin::setup`](crate::Plugin::setup).
pub const SETUP: &str = "setup";
/// `hogsend connect` runs [`Plugin::connect`](crate::Plugin::connect).
pub const CONNECT: &str = "connect";
/// `hogsend backfill` reads past events.
pub const HISTORY: &str = "history";
/// [`Ctx::in_segment`](crate::journey::Ctx::in_segment).
pub const SEGMENTS: &str = "segments";
/// [`Ctx::list`](crate::journey::Ctx::list).
pub const LISTS: &str = "lists";
/// [`Journey::goal`](crate::journey::Journey::goal).
pub const GOALS: &str = "goals";
/// [`Journey::holdout`](crate::journey::Journey::holdout).
pub const HOLDOUTS: &str = "holdouts";
/// [`Journey::not_after`](crate::journey::Journey::not_after).
pub const JOURNEY_NOT_AFTER: &str = "journey_not_after";
/// Documents are handed to [`Journeys::read_documents`](crate::Journeys::read_documents).
pub const DOCUMENTS: &str = "documents";
