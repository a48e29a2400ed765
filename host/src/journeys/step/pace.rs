//! Steps that gather, hold back or choose.

use chrono::{DateTime, TimeDelta, Utc};
use hogsend_plugin_api::StepError;
use hogsend_plugin_api::journey::{Digest, ThrottleArgs, VariantArgs};
use hogsend_plugin_api::semantics::variant as semantics;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Effects, Outcome, Performing};
use crate::db;

/// Events one digest tells of; further ones are counted.
const DIGEST: usize = 1_000;

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

/// The trigger event and those like it that came since.
pub(super) async fn digest(run: Performing<'_>) -> db::Result<Outcome> {
    let state = run.state;
    let mut conn = run.app.db.conn().await?;
    let found = db::history_since(
        &mut conn,
        state.contact_id,
        &state.trigger_event,
        state.created_at,
    )
    .await?;
    let condition = run.entry.definition.trigger.condition.as_ref();
    let contact = &state.person.properties;
    let mut digest = Digest::default();
    for event in found {
        if condition.is_none_or(|condition| condition.matches(&event.properties, contact)) {
            digest.count += 1;
            if digest.events.len() < DIGEST {
                digest.events.push(event.into());
            }
        }
    }
    Ok(Ok(json!(digest)))
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
    let mut conn = run.app.db.conn().await?;
    // One run of a journey and person at a time, so nobody else counts meanwhile.
    let passed = db::passes_since(&mut conn, state.contact_id, &state.journey_id, since).await?;
    let passes = passed < i64::from(args.limit);
    effects.passes += u32::from(passes);
    Ok(Ok(json!(passes)))
}

pub(super) async fn once_get(
    run: Performing<'_>,
    args: Result<OnceKey, StepError>,
) -> db::Result<Outcome> {
    let key = match args {
        Ok(args) => args.key,
        Err(error) => return Ok(Err(error)),
    };
    let state = run.state;
    let mut conn = run.app.db.conn().await?;
    let value = db::once_get(&mut conn, state.contact_id, &state.journey_id, &key).await?;
    Ok(Ok(json!({ "found": value.is_some(), "value": value })))
}

pub(super) fn once_put(args: OnceValue, effects: &mut Effects) -> Outcome {
    effects.onces.push((args.key, args.value));
    Ok(Value::Null)
}
