//! Steps that gather events, limit how often a run passes, or choose between arms.

use chrono::{DateTime, TimeDelta, Utc};
use hogsend_plugin_api::journey::{ThrottleArgs, VariantArgs};
use hogsend_plugin_api::{StepError, limits};
use hogsend_semantics::digest::Gathering;
use hogsend_semantics::variant as semantics;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Effects, Outcome, Performing};
use crate::db;

/// Events that a digest reads in one query.
const PAGE: usize = 200;
/// The most pages that a digest reads.
const PAGES_MAX: usize = 500;

/// The longest key of a block that runs once, in bytes.
const ONCE_KEY_MAX: usize = limits::ONCE_KEY.most;

#[derive(Deserialize)]
pub(super) struct OnceKey {
    key: String,
}

#[derive(Deserialize)]
pub(super) struct OnceValue {
    key: String,
    value: Value,
}

pub(super) fn variant(run: Performing<'_>, args: &VariantArgs) -> Outcome {
    let person = run.state.contact_id.into();
    semantics::arm(args, &run.state.journey_id, person).map(Value::String)
}

/// The trigger event and those of its kind received since. They are read page by page, newest first, so
/// that memory does not grow with their number.
pub(super) async fn digest(run: Performing<'_>) -> db::Result<Outcome> {
    let state = run.state;
    let since = db::Since {
        contact: state.contact_id,
        name: &state.trigger_event,
        received_at: state.created_at,
    };
    let condition = run.entry.definition.trigger.condition.as_ref();
    let contact = &state.person.properties;
    let mut digest = Gathering::default();
    let mut conn = run.cx.db.conn().await?;
    let mut before = None;
    for _ in 0..PAGES_MAX {
        let page = db::history_page(&mut conn, &since, before, PAGE).await?;
        let last = page.len() < PAGE;
        for event in page {
            before = Some((event.received_at, event.id));
            if condition.is_none_or(|condition| condition.matches(&event.properties, contact)) {
                digest.add(event.into());
            }
        }
        if last {
            break;
        }
        if digest.is_full() && condition.is_none() {
            let older = db::history_count(&mut conn, &since, before).await?;
            digest.count(u64::try_from(older).unwrap_or_default());
            break;
        }
    }
    Ok(Ok(json!(digest.finish())))
}

pub(super) async fn throttle(
    run: Performing<'_>,
    args: Result<ThrottleArgs, StepError>,
    effects: &mut Effects,
) -> db::Result<Outcome> {
    let args = match args {
        Ok(args) => args,
        Err(error) => return Ok(Err(error)),
    };
    let state = run.state;
    let since = i64::try_from(args.window_ms)
        .ok()
        .and_then(TimeDelta::try_milliseconds)
        .and_then(|window| run.now.checked_sub_signed(window))
        .unwrap_or(DateTime::<Utc>::MIN_UTC);
    let mut conn = run.cx.db.conn().await?;
    // A person has one open run of a journey, so nothing else counts meanwhile.
    let passed = db::passes_since(&mut conn, state.contact_id, &state.journey_id, since).await?;
    let passes = passed < i64::from(args.limit);
    effects.passes += u32::from(passes);
    Ok(Ok(json!(passes)))
}

pub(super) async fn once_get(
    run: Performing<'_>,
    args: Result<OnceKey, StepError>,
) -> db::Result<Outcome> {
    let key = match args.and_then(|args| once_key(args.key)) {
        Ok(key) => key,
        Err(error) => return Ok(Err(error)),
    };
    let state = run.state;
    let mut conn = run.cx.db.conn().await?;
    let value = db::once_get(&mut conn, state.contact_id, &state.journey_id, &key).await?;
    Ok(Ok(json!({ "found": value.is_some(), "value": value })))
}

pub(super) fn once_put(args: OnceValue, effects: &mut Effects) -> Outcome {
    effects.onces.push((once_key(args.key)?, args.value));
    Ok(Value::Null)
}

/// A key that an index can hold.
fn once_key(key: String) -> Result<String, StepError> {
    if key.len() > ONCE_KEY_MAX {
        let message = format!("the key of a block that runs once has at most {ONCE_KEY_MAX} bytes");
        return Err(StepError::new("key_too_long", message));
    }
    Ok(key)
}
