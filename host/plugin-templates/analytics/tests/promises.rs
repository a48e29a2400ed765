//! What Hogsend relies on in every analytics plugin. This file imitates the product.

use hogsend_plugin_acme::AcmePlugin;
use hogsend_plugin_api::serde_json::{self, Value, json};
use hogsend_plugin_api::{HttpResponse, Settings};
use hogsend_plugin_kit::analytics::{Captures, People, Product, Seen, conformance};

#[test]
fn acme_keeps_what_every_analytics_plugin_promises() {
    conformance::<AcmePlugin>(&Product {
        // No output may contain a secret, so take one that appears nowhere else.
        settings: Settings::from([("ACME_API_KEY", "hush-0123456789")]),
        captures: Some(Captures {
            event: "email.sent",
            updates: true,
            // The captures in a request.
            contents: |request| {
                let body: Value = serde_json::from_slice(request.body.as_slice()).unwrap();
                body["events"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(seen)
                    .collect()
            },
            accepted: |_| answer(200, &json!({})),
            failure: |status, words| answer(status, &json!({ "error": words })),
        }),
        people: Some(People {
            known: |properties| answer(200, &json!(properties)),
            unknown: || answer(404, &json!({})),
        }),
    });
}

fn seen(item: &Value) -> Seen {
    let text = |name: &str| item[name].as_str().map(str::to_owned);
    Seen {
        id: text("id"),
        distinct_id: text("user"),
        event: text("name").map(|name| name.replace("person.updated", "")),
        properties: item["properties"].as_object().cloned(),
    }
}

fn answer(status: u16, body: &Value) -> HttpResponse {
    HttpResponse::new(status, &[], body.to_string())
}
