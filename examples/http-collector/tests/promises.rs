//! What Hogsend relies on in every analytics plugin.

use hogsend_example_http_collector::Collector;
use hogsend_plugin_api::serde_json::{self, Value, json};
use hogsend_plugin_api::{HttpResponse, Settings};
use hogsend_plugin_kit::analytics::{Captures, People, Product, Seen, conformance};

#[test]
fn the_collector_keeps_what_every_analytics_plugin_promises() {
    conformance::<Collector>(&Product {
        settings: Settings::from([
            ("COLLECTOR_URL", "https://collect.example/hogsend"),
            ("COLLECTOR_TOKEN", "hush-0123456789"),
        ]),
        captures: Some(Captures {
            event: "email.sent",
            updates: true,
            contents: |request| {
                let lines = String::from_utf8(request.body.0.clone()).unwrap();
                lines.lines().map(seen).collect()
            },
            accepted: |_| HttpResponse::new(202, &[], ""),
            failure: |status, words| HttpResponse::new(status, &[], words),
        }),
        people: Some(People {
            known: |properties| HttpResponse::new(200, &[], json!(properties).to_string()),
            unknown: || HttpResponse::new(404, &[], "no such person"),
        }),
    });
}

fn seen(line: &str) -> Seen {
    let line: Value = serde_json::from_str(line).unwrap();
    let text = |name: &str| Some(line[name].as_str().unwrap_or_default().to_owned());
    Seen {
        id: text("id"),
        distinct_id: text("user"),
        event: text("event"),
        properties: line["properties"].as_object().cloned(),
    }
}
