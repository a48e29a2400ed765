//! Sanitising the answers of plugins before anything else uses them.

use chrono::{DateTime, TimeDelta, Utc};
use hogsend_plugin_api::journey::{AdvanceOut, Catalogue};
use hogsend_plugin_api::{
    BatchSent, Capabilities, Captured, Checked, Connected, DeliveryEvent, DeliveryReading, Past,
    Prepared, Properties, Reading, Refusal, Sent, SetupItem, SourceEvent, limits,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::bounds::{
    CHALLENGE_MAX, CURSOR_MAX, DEDUPE_KEY_MAX, HEADER_MAX, LINK_MAX, MESSAGE_ID_MAX, REASON_MAX,
};
use super::json::{clean, fit};
use super::text::{cleaned, key, text};
use super::time::arrived;

/// An answer of a plugin. Every answer passes [`Foreign::admit`] when it is read, so later code can
/// rely on it.
pub trait Foreign {
    /// Whether everything is within the limits that cannot be kept by leaving something out.
    ///
    /// # Errors
    /// A sentence that names the exceeded limit. The answer is refused.
    fn fits(&self) -> Result<(), String> {
        Ok(())
    }

    /// Cleans and limits the answer. `now` is the time it arrived.
    fn admit(&mut self, now: DateTime<Utc>);
}

impl<T: Foreign, E: Foreign> Foreign for Result<T, E> {
    fn fits(&self) -> Result<(), String> {
        self.as_ref().map_or_else(Foreign::fits, Foreign::fits)
    }

    fn admit(&mut self, now: DateTime<Utc>) {
        match self {
            Ok(value) => value.admit(now),
            Err(error) => error.admit(now),
        }
    }
}

impl<T: Foreign> Foreign for Option<T> {
    fn fits(&self) -> Result<(), String> {
        self.as_ref().map_or(Ok(()), Foreign::fits)
    }

    fn admit(&mut self, now: DateTime<Utc>) {
        if let Some(value) = self {
            value.admit(now);
        }
    }
}

/// A sentence: an error message.
impl Foreign for String {
    fn admit(&mut self, _: DateTime<Utc>) {
        *self = text(self, REASON_MAX);
    }
}

/// The properties that analytics has of a contact. Those that do not fit are left out.
impl Foreign for Properties {
    fn admit(&mut self, _: DateTime<Utc>) {
        fit(self);
    }
}

impl Foreign for Refusal {
    fn admit(&mut self, now: DateTime<Utc>) {
        match self {
            Self::Invalid { details, .. } => details.admit(now),
            Self::Unauthorized { reason, .. } => reason.admit(now),
            _ => {}
        }
    }
}

/// The events' contents are sanitised by [`crate::ingest`], which records dropped properties on the
/// contact.
impl Foreign for Reading {
    fn fits(&self) -> Result<(), String> {
        match self {
            Self::Events(events) => limits::EVENTS.check(events.len()),
            _ => Ok(()),
        }
    }

    fn admit(&mut self, now: DateTime<Utc>) {
        match self {
            Self::Events(events) => occurred(events, now),
            Self::Skipped { reason, .. } => reason.admit(now),
            Self::Challenge { answer, .. } => *answer = text(answer, CHALLENGE_MAX),
            // The bytes are the vendor's business; their size is checked where they are sent.
            Self::Answer { content_type, .. } => *content_type = text(content_type, HEADER_MAX),
            _ => {}
        }
    }
}

fn occurred(events: &mut [SourceEvent], now: DateTime<Utc>) {
    for event in events {
        event.occurred_at = Some(arrived(event.occurred_at, now));
    }
}

/// Like [`Reading`].
impl Foreign for Past {
    fn fits(&self) -> Result<(), String> {
        match self {
            Self::Page(page) => limits::EVENTS.check(page.events.len()),
            _ => Ok(()),
        }
    }

    fn admit(&mut self, now: DateTime<Utc>) {
        match self {
            Self::Page(page) => {
                occurred(&mut page.events, now);
                page.next = page.next.take().filter(|next| next.len() <= CURSOR_MAX);
            }
            Self::Unavailable {
                reason,
                retry_after_ms,
                ..
            } => {
                reason.admit(now);
                *retry_after_ms = retry_after_ms.map(|ms| ms.min(DAY_MS));
            }
            _ => {}
        }
    }
}

/// The results of a check, or the lines of a set-up.
impl<T: Foreign> Foreign for Vec<T> {
    fn fits(&self) -> Result<(), String> {
        limits::CHECKS.check(self.len())
    }

    fn admit(&mut self, now: DateTime<Utc>) {
        for item in self {
            item.admit(now);
        }
    }
}

impl Foreign for DeliveryReading {
    fn fits(&self) -> Result<(), String> {
        match self {
            Self::Events(events) => limits::EVENTS.check(events.len()),
            _ => Ok(()),
        }
    }

    fn admit(&mut self, now: DateTime<Utc>) {
        match self {
            Self::Events(events) => {
                for event in events {
                    event.admit(now);
                }
            }
            Self::Skipped { reason, .. } => reason.admit(now),
            Self::Answer { content_type, .. } => *content_type = text(content_type, HEADER_MAX),
            _ => {}
        }
    }
}

impl Foreign for DeliveryEvent {
    fn admit(&mut self, now: DateTime<Utc>) {
        let cut = |field: &mut Option<String>, max: usize| {
            if let Some(value) = field {
                *value = text(value, max);
            }
        };
        if let Some(id) = &mut self.dedupe_key {
            *id = key(id, DEDUPE_KEY_MAX);
        }
        if let Some(id) = &mut self.message_id {
            *id = key(id, MESSAGE_ID_MAX);
        }
        cut(&mut self.email, 320);
        cut(&mut self.reason, REASON_MAX);
        cut(&mut self.link, LINK_MAX);
        cut(&mut self.user_agent, HEADER_MAX);
        // A provider's clock may be slightly fast.
        self.occurred_at = match self.occurred_at {
            at if at < DateTime::UNIX_EPOCH || at > now + TimeDelta::hours(1) => now,
            at => at,
        };
    }
}

/// The bytes are opaque and not changed.
impl Foreign for Prepared {
    fn admit(&mut self, _: DateTime<Utc>) {
        self.content_type = text(&self.content_type, HEADER_MAX);
    }
}

/// For types with many variants and few texts: limits values by the names of their fields.
macro_rules! by_field {
    ($($answer:ty),*) => {
        $(impl Foreign for $answer {
            fn admit(&mut self, _: DateTime<Utc>) {
                by_field(self);
            }
        })*
    };
}

by_field!(Sent, BatchSent, Capabilities, Checked, Connected, SetupItem);

impl Foreign for Captured {
    fn fits(&self) -> Result<(), String> {
        match self {
            Self::Partly { refused, .. } => limits::REFUSED_CAPTURES.check(refused.len()),
            _ => Ok(()),
        }
    }

    fn admit(&mut self, _: DateTime<Utc>) {
        by_field(self);
    }
}

fn by_field<T: Serialize + DeserializeOwned>(answer: &mut T) {
    let Ok(mut value) = serde_json::to_value(&*answer) else {
        return;
    };
    bound(&mut value, "");
    if let Ok(bounded) = serde_json::from_value(value) {
        *answer = bounded;
    }
}

/// One day in milliseconds, the longest pause a provider can request.
const DAY_MS: u64 = 86_400_000;

fn bound(value: &mut Value, field: &str) {
    match value {
        Value::String(said) if field == "message_id" => *said = key(said, MESSAGE_ID_MAX),
        Value::String(said) => *said = text(said, REASON_MAX),
        Value::Number(number) if field.ends_with("_ms") => {
            if number.as_u64().is_some_and(|ms| ms > DAY_MS) {
                *value = DAY_MS.into();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| bound(item, field)),
        Value::Object(fields) => {
            for (name, item) in fields.iter_mut() {
                bound(item, name);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Read once, at the start.
impl Foreign for Catalogue {
    fn fits(&self) -> Result<(), String> {
        limits::JOURNEYS.check(self.journeys.len())?;
        limits::TEMPLATES.check(self.templates.len())?;
        limits::CATEGORIES.check(self.categories.len())?;
        for template in &self.templates {
            let text = template.text.as_deref().unwrap_or_default();
            let bytes = template.mjml.len() + template.subject.len() + text.len();
            let fits = limits::TEMPLATE.check(bytes);
            fits.map_err(|why| format!("{why} (template '{}')", text_of(&template.key)))?;
        }
        Ok(())
    }

    fn admit(&mut self, _: DateTime<Utc>) {
        if let Ok(mut value) = serde_json::to_value(&*self) {
            clean(&mut value);
            if let Ok(cleaned) = serde_json::from_value(value) {
                *self = cleaned;
            }
        }
    }
}

/// The beginning of an id, for a message.
fn text_of(id: &str) -> String {
    text(id, 100)
}

/// Not limited here: exceeding the limits of a run ends the run with a reason; see `runs/advance.rs`.
impl Foreign for AdvanceOut {
    fn admit(&mut self, _: DateTime<Utc>) {
        for command in &mut self.commands {
            clean(&mut command.args);
            cleaned(&mut command.kind);
            cleaned(&mut command.print);
            if let Some(label) = &mut command.label {
                cleaned(label);
            }
        }
        if let Ok(mut status) = serde_json::to_value(&self.status) {
            bound(&mut status, "");
            if let Ok(status) = serde_json::from_value(status) {
                self.status = status;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, Utc};
    use hogsend_plugin_api::journey::{Catalogue, Template};
    use hogsend_plugin_api::{
        BatchSent, Body, Captured, Checked, DeliveryEvent, DeliveryEventKind, Past, PastPage,
        Prepared, Reading, RefusedCapture, SendOutcome, Sent, SourceEvent,
    };
    use serde_json::json;

    use super::Foreign;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    fn admitted<T: Foreign>(mut answer: T) -> T {
        answer.admit(now());
        answer
    }

    #[test]
    fn an_id_that_cannot_be_stored_is_stored_in_another_form_and_found_by_it() {
        for id in ["a\0b".to_owned(), "é".repeat(8_000)] {
            let sent = admitted(Sent::from(SendOutcome::accepted(id.clone())));
            let SendOutcome::Accepted { message_id, .. } = sent.outcome else {
                panic!("{sent:?}");
            };
            assert!(!message_id.contains('\0') && message_id.chars().count() <= 255);
            let mut event = DeliveryEvent::new(DeliveryEventKind::Delivered, now());
            event.message_id = Some(id);
            assert_eq!(
                admitted(event).message_id.as_deref(),
                Some(message_id.as_str())
            );
        }
    }

    #[test]
    fn every_text_and_number_of_a_provider_is_bounded() {
        let batch: BatchSent = serde_json::from_value(json!({
            "outcome": { "each": [
                { "rejected": { "reason": "\0".repeat(9_000) } },
                { "retry": { "reason": "x", "retry_after_ms": u64::MAX, "pause": true } },
            ] },
            "rate": { "requests": 1, "per_ms": u64::MAX, "reset_ms": u64::MAX },
        }))
        .unwrap();
        let batch = admitted(batch);
        let text = format!("{batch:?}");
        assert!(!text.contains("\\0") && text.len() < 10_000, "{text}");
        assert!(!text.contains(&u64::MAX.to_string()), "{text}");
    }

    #[test]
    fn what_has_arrived_has_happened() {
        let at = |occurred_at| {
            let mut event = SourceEvent::new("x");
            event.occurred_at = occurred_at;
            let reading = Reading::Events(vec![event]);
            match admitted(reading) {
                Reading::Events(events) => events[0].occurred_at.unwrap(),
                other => panic!("{other:?}"),
            }
        };
        let earlier = now() - TimeDelta::days(400);
        assert_eq!(at(Some(earlier)), earlier);
        for odd in [
            None,
            Some(now() + TimeDelta::seconds(1)),
            Some(DateTime::<Utc>::MAX_UTC),
            Some(DateTime::<Utc>::MIN_UTC),
        ] {
            assert_eq!(at(odd), now());
        }
    }

    #[test]
    fn what_is_too_much_is_refused_by_the_name_of_its_limit() {
        let many = || vec![SourceEvent::new("x"); 10_001];
        let template = Template::new("big", "Hi", &"x".repeat(1024 * 1024));
        let catalogue: Catalogue =
            serde_json::from_value(json!({ "journeys": [], "templates": [template] })).unwrap();
        let refused = RefusedCapture::new(uuid::Uuid::nil(), "x");
        for (why, limit) in [
            (Reading::Events(many()).fits(), "events of a webhook"),
            (
                Past::Page(PastPage::new(many(), None)).fits(),
                "10001, at most 10,000",
            ),
            (
                catalogue.fits(),
                "1048578 bytes, at most 1 MiB (template 'big')",
            ),
            (
                Captured::partly(vec![refused; 10_001]).fits(),
                "captures refused in one answer",
            ),
            (vec![Checked::sound("x"); 201].fits(), "results of a check"),
        ] {
            let why = why.unwrap_err();
            assert!(
                why.starts_with("exceeds a limit: ") && why.contains(limit),
                "{why}"
            );
        }
        assert_eq!(Reading::Events(many().split_off(1)).fits(), Ok(()));
    }

    #[test]
    fn the_bytes_of_a_mail_stay_as_they_are() {
        let body = Body(b"\0raw\xff".to_vec());
        let prepared = admitted(Prepared::new("a\0", body.clone()));
        assert_eq!(
            (prepared.content_type.as_str(), prepared.body),
            ("a\u{fffd}", body)
        );
    }
}
