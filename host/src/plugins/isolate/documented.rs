//! Holds `docs/plugin-protocol.md` to what host and plugins exchange.

use hogsend_plugin_api::call::{Ask, Reply, method};
use hogsend_plugin_api::{
    Attempt, BatchAttempt, BatchSent, Capabilities, Capture, Captured, Checked, ConnectIn,
    Connected, DeliveryReading, Mail, Manifest, Past, PastIn, Prepared, Properties, Reading,
    Refusal, Sent, Settings, SetupItem, Webhook, wire,
};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::frame::{Request, Response};
use super::methods;

const PAGE: &str = include_str!("../../../../docs/plugin-protocol.md");

fn blocks() -> Vec<&'static str> {
    let parts = PAGE.split("```json\n").skip(1);
    parts
        .map(|part| part.split("```").next().unwrap())
        .collect()
}

/// Reads it, and leaves nothing out.
fn reads<T: DeserializeOwned>(text: &str) {
    let (_, left_out) = wire::read::<T>(text.as_bytes()).unwrap_or_else(|error| {
        panic!("{error}: {text}");
    });
    assert!(left_out.is_empty(), "{left_out:?}: {text}");
}

fn call<I: DeserializeOwned, O: DeserializeOwned>(input: &str, output: Option<&RawValue>) {
    reads::<I>(input);
    if let Some(output) = output {
        reads::<O>(output.get());
    }
}

fn asks<I: DeserializeOwned, O: DeserializeOwned>(input: &str, output: Option<&RawValue>) {
    call::<Ask<I>, Reply<O>>(input, output);
}

#[test]
fn each_example_of_the_page_is_what_host_and_plugin_read() {
    let blocks = blocks();
    let mut seen = Vec::new();
    for pair in blocks.chunks_exact(2) {
        let request: Request<'_> = serde_json::from_str(pair[0]).unwrap();
        let response: Response<'_> = serde_json::from_str(pair[1]).unwrap();
        assert_eq!(request.id, response.id, "{}", pair[1]);
        let (name, output) = (request.method, response.result);
        let input = request.params.map_or("null", RawValue::get);
        match methods::number(name) {
            None => {
                let text = output.map_or("null", RawValue::get);
                let value: serde_json::Value = serde_json::from_str(text).unwrap();
                match name {
                    methods::HANDSHAKE => reads::<Manifest>(&value["manifest"].to_string()),
                    methods::CREATE => {
                        let input: serde_json::Value = serde_json::from_str(input).unwrap();
                        reads::<Settings>(&input["settings"].to_string());
                    }
                    other => panic!("no method is named {other}"),
                }
            }
            Some(method::PLUGIN_CHECK) => asks::<(), Vec<Checked>>(input, output),
            Some(method::PLUGIN_SETUP) => call::<(), Vec<SetupItem>>(input, output),
            Some(method::PLUGIN_CONNECT) => asks::<ConnectIn, Connected>(input, output),
            Some(method::EVENT_SOURCE_READ) => {
                asks::<Webhook, Result<Reading, Refusal>>(input, output);
            }
            Some(method::EVENT_SOURCE_HISTORY) => asks::<PastIn, Past>(input, output),
            Some(method::DELIVERY_CAPABILITIES) => call::<(), Capabilities>(input, output),
            Some(method::DELIVERY_PREPARE) => call::<Mail, Result<Prepared, String>>(input, output),
            Some(method::DELIVERY_SEND) => asks::<Attempt, Sent>(input, output),
            Some(method::DELIVERY_SEND_BATCH) => asks::<BatchAttempt, BatchSent>(input, output),
            Some(method::DELIVERY_READ_WEBHOOK) => {
                asks::<Webhook, Result<DeliveryReading, Refusal>>(input, output);
            }
            Some(method::ANALYTICS_PERSON) => {
                asks::<String, Result<Option<Properties>, String>>(input, output);
            }
            Some(method::ANALYTICS_CAPTURE) => asks::<Vec<Capture>, Captured>(input, output),
            Some(other) => panic!("no example is expected of method {other}"),
        }
        seen.push(name);
    }
    assert!(blocks.len().is_multiple_of(2));
    for number in [1, 2, 4, 101, 102, 200, 201, 202, 203, 205, 300, 301] {
        let name = methods::name(number);
        assert!(seen.contains(&name.as_ref()), "no example of {name}");
    }
    assert!(PAGE.contains("analytics.history"));
}
