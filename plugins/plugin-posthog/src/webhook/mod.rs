//! Webhooks of PostHog's HTTP destination (`template-webhook`).

mod field;
mod identity;
#[cfg(test)]
mod tests;

use hogsend_plugin_api::{Properties, Reading, Refusal, SourceEvent, Webhook};
use serde_json::Value;
use subtle::ConstantTimeEq;

use field::{email, identifier, loose_id, object, text, timestamp};
use identity::{PERSON, is_visitor, joined};

/// Verifies and reads a webhook: `{event: {…}, person: {…}}`. The `url`s in it point at PostHog's own
/// pages and say nothing about the person, so they are left out. One of the secrets is enough; without any
/// nothing is verified.
pub fn read(secrets: &[&str], webhook: &Webhook) -> Result<Reading, Refusal> {
    if !secrets.is_empty() && !secrets.iter().any(|secret| knows(webhook, secret)) {
        return Err(Refusal::unauthorized());
    }
    let body: Value = hogsend_plugin_api::json::lenient(webhook.body.as_slice())
        .map_err(|error| Refusal::invalid(format!("the body is not valid JSON: {error}")))?;
    let body = object("the body", Some(&body))?.unwrap_or_default();
    Ok(Reading::Events(vec![event(&body)?]))
}

/// Reads the content of a webhook: `{event: {…}, person: {…}}`.
pub fn event(body: &Properties) -> Result<SourceEvent, Refusal> {
    let event = object("event", body.get("event"))?.ok_or_else(|| {
        Refusal::invalid(
            "event is required: send PostHog's default body, {\"event\": …, \"person\": …}",
        )
    })?;
    let properties = object("event.properties", event.get("properties"))?.unwrap_or_default();
    let person = object("person", body.get("person"))?.unwrap_or_default();
    let known = object("person.properties", person.get("properties"))?.unwrap_or_default();
    // Any sender of events can set these, so an invalid one is ignored.
    let fields = |name: &str| {
        object(name, properties.get(name))
            .ok()
            .flatten()
            .unwrap_or_default()
    };
    let (set, set_once) = (fields("$set"), fields("$set_once"));
    let email = [&known, &set, &set_once].into_iter().find_map(email);
    let name = text("event.event", event.get("event"))?
        .ok_or_else(|| Refusal::invalid("event.event is required: the event's name"))?;
    let distinct_id = identifier("event.distinct_id", event.get("distinct_id"))?
        .ok_or_else(|| Refusal::invalid("event.distinct_id is required: the id of the person"))?;
    let person_id = person.get("id").and_then(loose_id);
    let mut identities: Vec<(String, String)> = Vec::new();
    identities.extend(person_id.map(|id| (PERSON.to_owned(), id)));
    identities.extend(joined(&name, &distinct_id, &properties));
    let visitor = is_visitor(&name, &distinct_id, &properties);
    let (user_id, anonymous_id) = match visitor {
        true => (None, Some(distinct_id)),
        false => (Some(distinct_id), None),
    };
    let mut read = SourceEvent::new(name);
    read.dedupe_key = text("event.uuid", event.get("uuid"))?;
    read.user_id = user_id;
    read.email = email;
    read.anonymous_id = anonymous_id;
    read.identities = identities;
    read.contact_properties = person_properties(known, set, set_once, properties.get("$unset"));
    read.properties = properties;
    read.occurred_at = timestamp(event.get("timestamp"));
    Ok(read)
}

/// The person's properties: PostHog's record, and what this event sets, which the record may not
/// include yet.
fn person_properties(
    known: Properties,
    set: Properties,
    set_once: Properties,
    unset: Option<&Value>,
) -> Properties {
    let mut all = known;
    all.extend(set);
    for (name, value) in set_once {
        all.entry(name).or_insert(value);
    }
    let names = unset.and_then(Value::as_array).into_iter().flatten();
    for name in names.filter_map(Value::as_str) {
        all.insert(name.to_owned(), Value::Null);
    }
    all
}

/// Whether the webhook has the secret, in PostHog's own header or as a bearer token.
fn knows(webhook: &Webhook, secret: &str) -> bool {
    let bearer = webhook.header("authorization").and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme
            .eq_ignore_ascii_case("bearer")
            .then_some(token.trim())
    });
    let given = [webhook.header("x-posthog-webhook-secret"), bearer];
    let equal = |given: &str| bool::from(given.as_bytes().ct_eq(secret.as_bytes()));
    given.into_iter().flatten().any(equal)
}
