//! Makes events of sources storable. A vendor does not resend a corrected event, so the event is kept
//! and loses only the values that do not fit.

use hogsend_semantics::address::Mailbox;
use hogsend_semantics::identity::no_id;

use super::NewEvent;
use super::validate::{EVENT_NAME_MAX, KEY_MAX};
use crate::contacts::Person;
use crate::contacts::{PERSON_ID_MAX, is_kind};
use crate::event_names::{is_own, taken};
use crate::foreign::{self, Unfit};

/// Most further ids of one event.
const IDENTITIES_MAX: usize = 10;

/// Cleans an event and drops the values that do not fit; [`NewEvent::unfit`] lists them.
///
/// # Errors
///
/// Why the event cannot be stored: it has no name, a reserved name, or no id of a person.
pub fn admit(event: &mut NewEvent) -> Result<(), String> {
    let mut unfit = Vec::new();
    if event.name.trim().is_empty() {
        return Err("the event has no name".into());
    }
    if is_own(&event.name) {
        return Err(taken(&event.name));
    }
    let name = foreign::text(&event.name, EVENT_NAME_MAX);
    if event.name.chars().nth(EVENT_NAME_MAX).is_some() {
        let reason = format!("was cut to {EVENT_NAME_MAX} characters");
        unfit.push(Unfit::new("event name", reason));
    }
    event.name = name;
    event.dedupe_key = event
        .dedupe_key
        .take()
        .filter(|given| !given.trim().is_empty())
        .map(|given| foreign::key(&given, KEY_MAX));
    if let Person::Names(names) = &mut event.person {
        for (what, id) in [
            ("user id", &mut names.external_id),
            ("anonymous id", &mut names.anonymous_id),
        ] {
            if let Some(given) = id {
                foreign::cleaned(given);
                // A shortened id could be the id of another person.
                if given.chars().nth(PERSON_ID_MAX).is_some() {
                    let reason = format!("must be at most {PERSON_ID_MAX} characters");
                    unfit.push(Unfit::new(what, reason));
                    *id = None;
                } else if let Some(why) = no_id(given) {
                    if !given.trim().is_empty() {
                        unfit.push(Unfit::new(what, format!("'{given}' {why}")));
                    }
                    *id = None;
                }
            }
        }
        names.also.truncate(IDENTITIES_MAX);
        names.also.retain_mut(|id| {
            foreign::cleaned(&mut id.value);
            is_kind(&id.kind)
                && id.value.chars().nth(PERSON_ID_MAX).is_none()
                && no_id(&id.value).is_none()
        });
        if let Some(email) = &names.email
            && let Err(why) = Mailbox::parse(email)
        {
            unfit.push(Unfit::new(
                "email",
                format!("is not an email address: {why}"),
            ));
            names.email = None;
        }
        let named = names.external_id.is_some()
            || names.email.is_some()
            || names.anonymous_id.is_some()
            // If the source's main id is invalid, its further ids cannot be trusted either.
            || !names.also.is_empty() && unfit.is_empty();
        if !named {
            let why = unfit
                .iter()
                .map(|one| format!("; {} {}", one.name, one.reason));
            let why: String = why.collect();
            return Err(format!("the event names nobody{why}"));
        }
    }
    for (what, properties) in [
        ("properties", &mut event.properties),
        ("contact properties", &mut event.contact_properties),
    ] {
        unfit.extend(foreign::fit(properties).into_iter().map(|one| Unfit {
            name: format!("{what}: {}", one.name),
            ..one
        }));
    }
    event.unfit = unfit;
    Ok(())
}

#[cfg(test)]
mod tests {
    use hogsend_plugin_api::{SourceEvent, Trust};
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::admit;
    use crate::ingest::{NewEvent, Paths, check_event};

    fn event(change: impl FnOnce(&mut SourceEvent)) -> NewEvent {
        let mut event = SourceEvent::new("user.created");
        event.user_id = Some("u1".into());
        change(&mut event);
        NewEvent::from_source("vendor", Trust::Untrusted, event)
    }

    #[test]
    fn an_event_is_kept_without_what_does_not_fit() {
        let mut event = event(|event| {
            event.email = Some("no address".into());
            event.dedupe_key = Some("k".repeat(9_000));
            event.properties = Map::from_iter([
                ("a\0".to_owned(), json!("b\0")),
                ("long".to_owned(), json!("x".repeat(300 * 1024))),
                (
                    "deep".to_owned(),
                    (0..50).fold(json!(1), |inner, _| json!([inner])),
                ),
            ]);
        });
        admit(&mut event).unwrap();
        assert_eq!(json!(event.properties), json!({ "a\u{fffd}": "b\u{fffd}" }));
        let named: Vec<_> = event.unfit.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(named, ["email", "properties: deep", "properties: long"]);
        assert_eq!(event.dedupe_key.unwrap().chars().count(), 256);
    }

    #[test]
    fn an_event_of_nobody_is_skipped_with_the_reason() {
        let why = |change: &dyn Fn(&mut SourceEvent)| {
            let mut event = event(change);
            admit(&mut event).unwrap_err()
        };
        assert!(why(&|event| event.name = " ".into()).contains("no name"));
        assert!(why(&|event| event.user_id = Some("u".repeat(300))).contains("at most 256"));
        assert!(why(&|event| event.user_id = None).contains("nobody"));
    }

    fn text() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<String>(),
            "[a\0]{0,400}",
            Just("u@example.com".to_owned()),
            Just("\0".to_owned()),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

        #[test]
        fn whatever_is_admitted_could_come_through_the_api(
            name in text(), key in prop::option::of(text()), user in prop::option::of(text()),
            email in prop::option::of(text()), given in prop::collection::vec((text(), text()), 0..5),
        ) {
            let mut event = event(|event| {
                event.name = name;
                event.dedupe_key = key;
                event.user_id = user;
                event.email = email;
                event.properties = given.iter().map(|(name, text)| (name.clone(), Value::from(text.clone()))).collect();
                event.contact_properties = event.properties.clone();
            });
            if admit(&mut event).is_ok() {
                let issues = check_event(&event, chrono::DateTime::UNIX_EPOCH, &Paths::API);
                prop_assert!(issues.is_empty(), "{issues:?} {event:?}");
                let kept = event.properties.iter().chain(&event.contact_properties);
                let mut texts = vec![event.name.as_str()];
                for (name, value) in kept {
                    texts.extend([name.as_str(), value.as_str().unwrap_or_default()]);
                }
                prop_assert!(!texts.concat().contains(char::from(0)));
            }
        }
    }
}
