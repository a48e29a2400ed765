//! A webhook of PostHog's HTTP destination (`template-webhook`).

use chrono::{DateTime, Utc};
use hogsend_plugin_api::{Properties, Reading, Refusal, SourceEvent, Webhook};
use serde_json::Value;
use subtle::ConstantTimeEq;

/// Verifies and reads a webhook: `{event: {…}, person: {…}}`.
pub fn read(secret: Option<&str>, webhook: &Webhook) -> Result<Reading, Refusal> {
    if let Some(secret) = secret
        && !given(webhook).is_some_and(|given| given.as_bytes().ct_eq(secret.as_bytes()).into())
    {
        return Err(Refusal::Unauthorized);
    }
    let body: Value = serde_json::from_slice(webhook.body.as_slice())
        .map_err(|error| invalid(format!("the body is not valid JSON: {error}")))?;
    let event = object("event", body.get("event"))?.ok_or_else(|| {
        invalid("event is required: send PostHog's default body, {\"event\": …, \"person\": …}")
    })?;
    let person = object("person", body.get("person"))?.unwrap_or_default();
    let person_properties = properties("person.properties", person.get("properties"))?;
    let read = SourceEvent {
        name: text("event.event", event.get("event"))?
            .ok_or_else(|| invalid("event.event is required: the event's name"))?,
        dedupe_key: text("event.uuid", event.get("uuid"))?,
        user_id: Some(
            identifier(event.get("distinct_id"))?
                .ok_or_else(|| invalid("event.distinct_id is required: whom the event is about"))?,
        ),
        email: email(&person_properties),
        properties: properties("event.properties", event.get("properties"))?,
        contact_properties: person_properties,
        occurred_at: timestamp(event.get("timestamp"))?,
    };
    Ok(Reading::Events(vec![read]))
}

/// The secret as the webhook brings it, in PostHog's own header or as a bearer token.
fn given(webhook: &Webhook) -> Option<&str> {
    webhook.header("x-posthog-webhook-secret").or_else(|| {
        let (scheme, token) = webhook.header("authorization")?.split_once(' ')?;
        scheme
            .eq_ignore_ascii_case("bearer")
            .then_some(token.trim())
    })
}

fn invalid(details: impl Into<String>) -> Refusal {
    Refusal::Invalid {
        details: details.into(),
    }
}

/// An object, or the JSON text of one: PostHog's body template writes `"{event}"`, which some
/// versions fill in as text.
fn object(path: &str, value: Option<&Value>) -> Result<Option<Properties>, Refusal> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(fields)) => Ok(Some(fields.clone())),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) => serde_json::from_str(text)
            .map(Some)
            .map_err(|error| invalid(format!("{path} is text that is no JSON object: {error}"))),
        Some(other) => Err(invalid(format!(
            "{path} must be an object, not {}",
            kind(other)
        ))),
    }
}

fn properties(path: &str, value: Option<&Value>) -> Result<Properties, Refusal> {
    object(path, value).map(Option::unwrap_or_default)
}

fn text(path: &str, value: Option<&Value>) -> Result<Option<String>, Refusal> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(other) => Err(invalid(format!(
            "{path} must be a string, not {}",
            kind(other)
        ))),
    }
}

/// Products that use numbers as ids send numbers.
fn identifier(value: Option<&Value>) -> Result<Option<String>, Refusal> {
    match value {
        Some(Value::Number(number)) => Ok(Some(number.to_string())),
        other => text("event.distinct_id", other),
    }
}

/// PostHog's property `email`; one that is no address at all is left to the contact's properties.
fn email(person: &Properties) -> Option<String> {
    let email = person.get("email")?.as_str()?.trim();
    email.contains('@').then(|| email.to_owned())
}

fn timestamp(value: Option<&Value>) -> Result<Option<DateTime<Utc>>, Refusal> {
    let Some(text) = text("event.timestamp", value)? else {
        return Ok(None);
    };
    DateTime::parse_from_rfc3339(&text)
        .map(|at| Some(at.to_utc()))
        .map_err(|_| {
            invalid("event.timestamp must be an RFC 3339 time such as 2026-01-31T09:30:00Z")
        })
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use hogsend_plugin_api::{Reading, Refusal, SourceEvent, Webhook};
    use serde_json::{Value, json};

    use super::read;

    fn webhook(headers: &[(&str, &str)], body: &Value) -> Webhook {
        Webhook {
            headers: headers
                .iter()
                .map(|(name, value)| ((*name).into(), (*value).into()))
                .collect(),
            body: body.to_string().into(),
            received_at: chrono::DateTime::UNIX_EPOCH,
        }
    }

    fn body() -> Value {
        json!({
            "event": {
                "uuid": "0190", "event": "signed_up", "distinct_id": "u1",
                "timestamp": "2026-03-01T10:00:00+01:00", "properties": { "plan": "pro" }
            },
            "person": { "id": "p", "properties": { "email": "a@b.co", "name": "A" } }
        })
    }

    fn event(body: &Value) -> SourceEvent {
        match read(None, &webhook(&[], body)).unwrap() {
            Reading::Events(mut events) => events.remove(0),
            Reading::Skipped { reason } => panic!("skipped: {reason}"),
        }
    }

    #[test]
    fn every_field_goes_where_it_belongs() {
        let event = event(&body());
        assert_eq!(event.name, "signed_up");
        assert_eq!(event.dedupe_key.as_deref(), Some("0190"));
        assert_eq!(event.user_id.as_deref(), Some("u1"));
        assert_eq!(event.email.as_deref(), Some("a@b.co"));
        assert_eq!(
            event.occurred_at.unwrap().to_rfc3339(),
            "2026-03-01T09:00:00+00:00"
        );
        assert_eq!(json!(event.properties), json!({ "plan": "pro" }));
        assert_eq!(
            json!(event.contact_properties),
            json!({ "email": "a@b.co", "name": "A" })
        );
    }

    #[test]
    fn parts_may_arrive_as_text_and_ids_as_numbers() {
        let mut loose = body();
        loose["event"]["distinct_id"] = json!(42);
        let text =
            json!({ "event": loose["event"].to_string(), "person": loose["person"].to_string() });
        assert_eq!(event(&text).user_id.as_deref(), Some("42"));
        assert_eq!(event(&text).email.as_deref(), Some("a@b.co"));
        let bare = json!({ "event": { "event": "e", "distinct_id": "d" }, "person": "" });
        assert_eq!(event(&bare).email, None);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (pointer, value, word) in [
            ("/event", Value::Null, "event is required"),
            ("/event", json!([]), "event must be an object, not an array"),
            ("/event", json!("{"), "event is text that is no JSON object"),
            (
                "/event/event",
                json!(1),
                "event.event must be a string, not a number",
            ),
            (
                "/event/distinct_id",
                Value::Null,
                "event.distinct_id is required",
            ),
            ("/event/timestamp", json!("soon"), "event.timestamp must be"),
            (
                "/event/properties",
                json!(3),
                "event.properties must be an object",
            ),
            ("/person", json!(3), "person must be an object"),
        ] {
            let mut bad = body();
            *bad.pointer_mut(pointer).unwrap() = value;
            match read(None, &webhook(&[], &bad)) {
                Err(Refusal::Invalid { details }) => {
                    assert!(details.starts_with(word), "{details}");
                }
                other => panic!("{pointer}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_configured_secret_is_required_in_either_header() {
        let try_with = |headers: &[(&str, &str)]| read(Some("hush"), &webhook(headers, &body()));
        assert!(try_with(&[("x-posthog-webhook-secret", "hush")]).is_ok());
        assert!(try_with(&[("authorization", "Bearer hush")]).is_ok());
        for headers in [
            &[][..],
            &[("x-posthog-webhook-secret", "hus")],
            &[("authorization", "hush")],
            &[("authorization", "Basic hush")],
        ] {
            assert_eq!(try_with(headers), Err(Refusal::Unauthorized));
        }
    }
}
