//! The names of the methods in messages to a child.

use std::borrow::Cow;

use hogsend_plugin_api::call::method;

/// Begins the conversation; its answer has the manifest.
pub const HANDSHAKE: &str = "handshake";
/// Creates the plugin from its settings.
pub const CREATE: &str = "create";

const NAMES: &[(u32, &str)] = &[
    (method::PLUGIN_CHECK, "plugin.check"),
    (method::PLUGIN_SETUP, "plugin.setup"),
    (method::PLUGIN_CONNECT, "plugin.connect"),
    (method::EVENT_SOURCE_READ, "event_source.read"),
    (method::EVENT_SOURCE_HISTORY, "event_source.history"),
    (method::DELIVERY_CAPABILITIES, "delivery.capabilities"),
    (method::DELIVERY_PREPARE, "delivery.prepare"),
    (method::DELIVERY_SEND, "delivery.send"),
    (method::DELIVERY_SEND_BATCH, "delivery.send_batch"),
    (method::DELIVERY_READ_WEBHOOK, "delivery.read_webhook"),
    (method::ANALYTICS_PERSON, "analytics.person"),
    (method::ANALYTICS_CAPTURE, "analytics.capture"),
    (method::ANALYTICS_HISTORY, "analytics.history"),
    (method::JOURNEYS_CATALOGUE, "journeys.catalogue"),
    (method::JOURNEYS_ADVANCE, "journeys.advance"),
];

/// A method without a name in the table, such as one of a later version.
const NUMBERED: &str = "method.";

pub fn name(number: u32) -> Cow<'static, str> {
    let known = NAMES.iter().find(|(known, _)| *known == number);
    known.map_or_else(
        || Cow::Owned(format!("{NUMBERED}{number}")),
        |(_, name)| Cow::Borrowed(*name),
    )
}

pub fn number(name: &str) -> Option<u32> {
    let known = NAMES.iter().find(|(_, known)| *known == name);
    known
        .map(|(number, _)| *number)
        .or_else(|| name.strip_prefix(NUMBERED)?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::{NAMES, name, number};

    #[test]
    fn each_method_has_one_name() {
        for (at, (known, text)) in NAMES.iter().enumerate() {
            assert_eq!((name(*known).as_ref(), number(text)), (*text, Some(*known)));
            assert!(NAMES[..at].iter().all(|(_, other)| other != text));
        }
        assert_eq!(name(999), "method.999");
        assert_eq!(number("method.999"), Some(999));
        assert_eq!(number("method.x"), None);
        assert_eq!(number("handshake"), None);
    }
}
