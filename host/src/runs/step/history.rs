//! Steps that ask about the past.

use chrono::{DateTime, TimeDelta, Utc};
use hogsend_plugin_api::StepError;
use hogsend_plugin_api::journey::{
    EmailPastArgs, HasEventArgs, JourneyPastArgs, Occurrence, Occurrences,
};
use hogsend_semantics::digest::fitting;
use serde_json::json;

use super::{Outcome, Performing};
use crate::db;

/// The most events that a step gets.
const EVENTS: i64 = 100;

type Args<T> = Result<T, StepError>;

pub(super) async fn has_event(
    run: Performing<'_>,
    args: Args<HasEventArgs>,
) -> db::Result<Outcome> {
    let args = match args {
        Ok(args) => args,
        Err(error) => return Ok(Err(error)),
    };
    let since = since(run.now, args.within_ms);
    let mut conn = run.cx.db.conn().await?;
    let found = db::history_event(&mut conn, run.state.contact_id, &args.event, since).await?;
    Ok(Ok(json!(Occurrences::new(
        found.count as u64,
        found.last_at
    ))))
}

pub(super) async fn events(run: Performing<'_>, args: Args<HasEventArgs>) -> db::Result<Outcome> {
    let args = match args {
        Ok(args) => args,
        Err(error) => return Ok(Err(error)),
    };
    let since = since(run.now, args.within_ms);
    let mut conn = run.cx.db.conn().await?;
    let contact = run.state.contact_id;
    let found = db::history_events(&mut conn, contact, &args.event, since, EVENTS).await?;
    let events = found.into_iter().map(Occurrence::from);
    Ok(Ok(json!(fitting(events))))
}

pub(super) async fn journey(
    run: Performing<'_>,
    args: Args<JourneyPastArgs>,
) -> db::Result<Outcome> {
    let args = match args {
        Ok(args) => args,
        Err(error) => return Ok(Err(error)),
    };
    let mut conn = run.cx.db.conn().await?;
    let past = db::history_journey(&mut conn, run.state.contact_id, &args.journey).await?;
    Ok(Ok(json!(past)))
}

pub(super) async fn email(run: Performing<'_>, args: Args<EmailPastArgs>) -> db::Result<Outcome> {
    let args = match args {
        Ok(args) => args,
        Err(error) => return Ok(Err(error)),
    };
    let mut conn = run.cx.db.conn().await?;
    let past = db::history_email(&mut conn, run.state.contact_id, &args.template).await?;
    Ok(Ok(json!(past)))
}

fn since(now: DateTime<Utc>, within_ms: Option<u64>) -> Option<DateTime<Utc>> {
    let age = TimeDelta::try_milliseconds(i64::try_from(within_ms?).ok()?)?;
    now.checked_sub_signed(age)
}
