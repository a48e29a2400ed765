//! A call through a loaded plugin, against the same call through the linked one.

use std::path::PathBuf;

use hogsend::plugins::bench::{Direct, direct};
use hogsend_plugin_api::Webhook;
use hogsend_plugin_api::call::{Ask, method};
use serde_json::json;

use crate::{median, microseconds};

pub fn bench() {
    let folder: PathBuf = std::env::var_os("HOGSEND_TEST_PLUGIN_DIR")
        .expect("run with `cargo xtask bench`")
        .into();
    let file = folder.join("libhogsend_plugin_posthog.so");
    let Direct { linked, loaded } = direct("posthog", &file);
    let body = json!({
        "event": { "uuid": "0190", "event": "page.viewed", "distinct_id": "u", "timestamp": "2026-03-01T10:00:00Z",
                   "properties": { "text": "x".repeat(1_500) } },
        "person": { "properties": { "email": "a@b.co", "name": "A" } }
    });
    let headers = vec![("content-type".into(), "application/json".into())];
    let at = chrono::DateTime::UNIX_EPOCH;
    let ask = Ask::new(Webhook::new(headers, body.to_string(), at), at);
    let input = serde_json::to_vec(&ask).expect("JSON");
    assert_eq!(
        linked(method::EVENT_SOURCE_READ, &input),
        loaded(method::EVENT_SOURCE_READ, &input)
    );
    let by_link = median(|| drop(linked(method::EVENT_SOURCE_READ, &input)));
    let by_load = median(|| drop(loaded(method::EVENT_SOURCE_READ, &input)));
    println!(
        "plugin_call: a {} byte webhook: linked {:.2} µs, loaded {:.2} µs, ratio {:.2}",
        input.len(),
        microseconds(by_link),
        microseconds(by_load),
        by_load.as_secs_f64() / by_link.as_secs_f64()
    );
    // An unknown method: measures the call overhead alone.
    let by_link = median(|| drop(linked(9_999, b"")));
    let by_load = median(|| drop(loaded(9_999, b"")));
    println!(
        "plugin_call: an unknown method: linked {:.3} µs, loaded {:.3} µs",
        microseconds(by_link),
        microseconds(by_load)
    );
}
