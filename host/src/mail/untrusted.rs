//! Which values of an untrusted event may appear in a mail.
//!
//! A journey passes values of events to its templates. If an event's source is not trusted, its links
//! may lead only to the product's own hosts, and its texts appear only if they look like a name.
//! Values that the journey makes itself stay: a value counts as the event's if it contains a text of
//! the event that may not appear.

use hogsend_plugin_api::{Properties, Template};
use hogsend_semantics::name::person_name;
use serde_json::Value;

use crate::config::LinkHosts;

/// Shorter texts can hold neither a link nor a message.
const SHORT: usize = 4;
/// Larger numbers can be read as telephone numbers.
const NUMBER_MAX: f64 = 1_000_000.0;

/// Removes the values that contain a text of one of these events. A template that declares no props
/// keeps texts, which its author may expect, and loses links.
pub fn without_strangers(
    template: &Template,
    values: Properties,
    events: &[Properties],
    hosts: &LinkHosts,
) -> Properties {
    let declared = !template.props.is_empty();
    let mut strange = Vec::new();
    for value in events.iter().flat_map(Properties::values) {
        collect(value, &mut strange, &|text: &str| {
            !shown(text, hosts, declared)
        });
    }
    if strange.is_empty() {
        return values;
    }
    let kept = values.into_iter().filter_map(|(name, value)| {
        let value = cleaned(value, &strange)?;
        Some((name, value))
    });
    kept.collect()
}

/// Whether a text of an untrusted event may appear in a mail.
fn shown(text: &str, hosts: &LinkHosts, declared: bool) -> bool {
    let text = text.trim();
    if text.chars().count() < SHORT {
        return true;
    }
    let whole_link = text.contains("://") && !text.contains(char::is_whitespace);
    if whole_link {
        return hosts.allow(text);
    }
    if declared {
        return person_name(text).is_some();
    }
    // Mail programs make a link of each of these.
    let linked = |word: &str| {
        let word = word.trim_matches(|c: char| !c.is_alphanumeric());
        let inner_dot = word.split_once('.').is_some_and(|(before, after)| {
            !before.is_empty() && after.chars().next().is_some_and(char::is_alphanumeric)
        });
        word.contains("://") || word.contains('@') || inner_dot && word.parse::<f64>().is_err()
    };
    !text.split_whitespace().any(linked)
}

/// Collects every text in a value that may not appear, and every number that is too large.
fn collect(value: &Value, into: &mut Vec<String>, strange: &dyn Fn(&str) -> bool) {
    match value {
        Value::String(text) => {
            let text = text.trim();
            if strange(text) {
                into.push(text.to_owned());
            }
        }
        Value::Number(number) => {
            if number
                .as_f64()
                .is_none_or(|number| number.abs() >= NUMBER_MAX)
            {
                into.push(number.to_string());
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, into, strange)),
        Value::Object(fields) => fields
            .values()
            .for_each(|item| collect(item, into, strange)),
        Value::Null | Value::Bool(_) => {}
    }
}

/// The value without the parts that contain an untrusted text. None if nothing is left.
fn cleaned(value: Value, strange: &[String]) -> Option<Value> {
    let holds = |text: &str| {
        strange
            .iter()
            .any(|strange| text.contains(strange.as_str()))
    };
    match value {
        Value::String(text) => (!holds(&text)).then_some(Value::String(text)),
        Value::Number(number) => (!holds(&number.to_string())).then_some(Value::Number(number)),
        Value::Array(items) => {
            let was_empty = items.is_empty();
            let items: Vec<Value> = items
                .into_iter()
                .filter_map(|item| cleaned(item, strange))
                .collect();
            (was_empty || !items.is_empty()).then_some(Value::Array(items))
        }
        Value::Object(fields) => {
            let fields = fields
                .into_iter()
                .filter_map(|(name, item)| Some((name, cleaned(item, strange)?)));
            Some(Value::Object(fields.collect()))
        }
        other => Some(other),
    }
}

#[cfg(test)]
mod tests {
    use hogsend_plugin_api::journey::Prop;
    use hogsend_plugin_api::{Properties, Template};
    use serde_json::{Value, json};

    use super::without_strangers;
    use crate::config::{Config, LinkHosts, Mode};

    fn hosts() -> LinkHosts {
        let lookup = |name: &str| (name == "LINK_HOSTS").then(|| "acme.test".to_owned());
        Config::read(&lookup, Mode::Dev).0.link_hosts
    }

    fn declared() -> Template {
        Template::default().props(vec![Prop::text("milestone"), Prop::url("url")])
    }

    fn map(value: Value) -> Properties {
        serde_json::from_value(value).unwrap()
    }

    fn kept(template: &Template, props: Value, events: &[Value]) -> Value {
        let events: Vec<Properties> = events.iter().cloned().map(map).collect();
        without_strangers(template, map(props), &events, &hosts()).into()
    }

    #[test]
    fn a_strangers_links_lead_to_our_own_hosts_and_their_texts_are_names() {
        for (value, stays) in [
            (json!("https://app.acme.test/go?x=1"), true),
            (json!("https://acme.test"), true),
            (json!("https://evil.test/acme.test"), false),
            (json!("https://acme.test@evil.test/"), false),
            (json!("https://acme.test.evil.test/"), false),
            (json!("//evil.test"), false),
            (json!("javascript:alert(1)"), false),
            (json!("First report"), true),
            (json!("Free gift bit.ly/3xFree"), false),
            (json!("Call +1 900 555 0199"), false),
            (json!("evil-site.com"), false),
            (json!("t.me/x"), false),
            (json!("Pro"), true),
            (json!("Pro 2"), false),
            (json!(7), true),
            (json!(19005550199_u64), false),
            (json!(true), true),
            (json!(["https://evil.test/x"]), false),
        ] {
            let event = json!({ "value": value });
            let expected = if stays {
                json!({ "value": value })
            } else {
                json!({})
            };
            assert_eq!(kept(&declared(), event.clone(), &[event]), expected);
        }
    }

    #[test]
    fn what_the_journey_says_itself_stays() {
        let event = json!({ "reward": "http://evil.test 5 €", "n": "ok", "nested": { "deep": ["evil.com now"] } });
        let props = json!({
            "title": "Know somebody at https://docs.vendor.test?",
            "closing": "For everyone who joins: http://evil.test 5 €.",
            "count": 12,
            "items": [{ "title": "evil.com now", "n": 1 }, "fine", "so evil.com now"],
        });
        assert_eq!(
            kept(&declared(), props, &[event]),
            json!({
                "title": "Know somebody at https://docs.vendor.test?",
                "count": 12,
                "items": [{ "n": 1 }, "fine"],
            })
        );
        let digest = [
            json!({ "milestone": "Ten" }),
            json!({ "milestone": "win at evil.com" }),
        ];
        let props = json!({ "items": [{ "title": "win at evil.com" }] });
        assert_eq!(kept(&declared(), props, &digest), json!({ "items": [{}] }));
    }

    #[test]
    fn a_template_that_declares_nothing_keeps_texts_and_loses_links() {
        let event = json!({
            "plan": "Pro (annual), 2 seats", "price": "12.50", "a": "https://evil.test",
            "b": "see evil.test now", "c": "ann@evil.test", "d": "https://acme.test/x",
        });
        assert_eq!(
            kept(&Template::default(), event.clone(), &[event]),
            json!({ "plan": "Pro (annual), 2 seats", "price": "12.50", "d": "https://acme.test/x" })
        );
    }
}
