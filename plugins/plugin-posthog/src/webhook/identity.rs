//! Whether an event is about a person of the product or about an anonymous visitor.

use hogsend_plugin_api::Properties;
use serde_json::Value;

use super::field::loose_id;

/// The kind of PostHog's own person ids, which connect the distinct ids of one person.
pub const PERSON: &str = "posthog_person";

/// Whether the distinct id is that of a browser or device without a signed-in person.
pub fn is_visitor(name: &str, distinct_id: &str, properties: &Properties) -> bool {
    let no = |name: &str| match properties.get(name) {
        Some(Value::Bool(flag)) => !flag,
        Some(Value::String(text)) => text.eq_ignore_ascii_case("false"),
        _ => false,
    };
    let other = properties.get("$anon_distinct_id").and_then(loose_id);
    // This event means that the visitor signed in.
    if name == "$identify" && other.is_some_and(|other| other != distinct_id) {
        return false;
    }
    let device = properties.get("$device_id").and_then(loose_id);
    no("$process_person_profile") || no("$is_identified") || device.as_deref() == Some(distinct_id)
}

/// The other ids that the event attributes to the same person.
pub fn joined(name: &str, distinct_id: &str, properties: &Properties) -> Vec<(String, String)> {
    let (property, kinds): (&str, &[&str]) = match name {
        "$identify" => ("$anon_distinct_id", &["anonymous"]),
        // An alias may be a device's id or a product id.
        "$create_alias" | "$merge_dangerously" => ("alias", &["user", "anonymous"]),
        _ => return Vec::new(),
    };
    let other = properties.get(property).and_then(loose_id);
    let other = other.filter(|other| other != distinct_id);
    let all = kinds.iter().zip(std::iter::repeat(other));
    all.filter_map(|(kind, other)| Some(((*kind).to_owned(), other?)))
        .collect()
}
