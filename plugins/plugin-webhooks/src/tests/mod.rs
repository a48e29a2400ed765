mod anything;
mod conformance;
mod mapping;
mod mistakes;
mod signatures;
mod stripe;
mod vendors;

use std::sync::Arc;

use chrono::DateTime;
use hogsend_plugin_api::{Reading, Refusal, Settings, SourceEvent, Webhook};
use serde_json::Value;

use crate::file::parse;
use crate::presets::PRESETS;
use crate::source::Running;

/// When the webhooks of the tests arrive, and are signed.
const NOW: i64 = 1_700_000_000;

fn webhook(headers: &[(&str, &str)], body: &str) -> Webhook {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let received_at = DateTime::from_timestamp(NOW, 0).unwrap();
    Webhook::new(headers.iter().map(own).collect(), body, received_at)
}

fn described(text: &str, settings: &Settings) -> Running {
    let source = parse("acme", text).unwrap_or_else(|problems| panic!("{problems:#?}"));
    Running::new(Arc::new(source), settings).unwrap()
}

fn preset(id: &str, settings: &Settings) -> Running {
    let (_, text) = PRESETS.iter().find(|(own, _)| *own == id).unwrap();
    described(text, settings)
}

/// What a preset reads from a body, in development.
fn read(id: &str, headers: &[(&str, &str)], body: &Value) -> Reading {
    let source = preset(id, &Settings::default());
    source
        .read_webhook(&webhook(headers, &body.to_string()))
        .unwrap()
}

/// The only event in a body.
fn event(id: &str, headers: &[(&str, &str)], body: &Value) -> SourceEvent {
    match read(id, headers, body) {
        Reading::Events(mut events) if events.len() == 1 => events.remove(0),
        other => panic!("{other:?}"),
    }
}

/// Why nothing in a body is read.
fn skipped(id: &str, body: &Value) -> String {
    match read(id, &[], body) {
        Reading::Skipped { reason, .. } => reason,
        other => panic!("{other:?}"),
    }
}

/// Whether a webhook is genuine, or why not. What it says does not matter.
fn verified(source: &Running, webhook: &Webhook) -> Result<(), String> {
    match source.read_webhook(webhook) {
        Err(Refusal::Unauthorized { reason, .. }) => Err(reason.unwrap()),
        _ => Ok(()),
    }
}
