//! The reference lists every promise.

#![forbid(unsafe_code)]

use hogsend_plugin_kit::{Promise, analytics, delivery, event_source, journeys};

#[test]
fn the_reference_lists_every_promise() {
    let page = include_str!("../../../docs/reference/plugins.md");
    let lists: [(&str, &[Promise]); 5] = [
        ("Every plugin", &hogsend_plugin_kit::PROMISES),
        ("Event sources", &event_source::PROMISES),
        ("Delivery plugins", &delivery::PROMISES),
        ("Analytics plugins", &analytics::PROMISES),
        ("Journeys and templates", &journeys::PROMISES),
    ];
    for (kind, promises) in lists {
        let mut table = format!("### {kind}\n\n| Promise | What the plugin does |\n|---|---|\n");
        for Promise { name, text } in promises {
            table += &format!("| `{name}` | {text} |\n");
        }
        assert!(
            page.contains(&format!("{table}\n")),
            "the reference lacks:\n{table}"
        );
    }
}
