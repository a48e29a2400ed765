//! The spike guard: it holds a journey that many times more contacts enter than usual, and alerts.
//!
//! A trigger that fires for everybody by mistake is stopped within seconds, before most of the mails. Entries
//! are counted in an index of the runs, so events are ingested as before.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

use super::Kind;
use crate::audit::Actor;
use crate::context::Context;
use crate::db::{self, Conn, Entered, NewAlert, Tx};
use crate::ids;
use crate::pauses::{Scope, begin};
use crate::states::PauseCause;

/// Who pauses, in health and in the audit log.
const WHO: Actor = Actor::System("spike guard");
/// The time in which entries are counted.
const WINDOW: TimeDelta = TimeDelta::minutes(10);
/// How many times the entries of its busiest ten minutes may enter a journey.
const TIMES: i64 = 5;
/// How far back the busiest ten minutes are looked for.
const BACK: TimeDelta = TimeDelta::days(28);
/// What came within the last hour may be the spike itself.
const RECENT: TimeDelta = TimeDelta::hours(1);
/// How long the busiest ten minutes of a journey count as known. A count over weeks of a busy journey is not
/// cheap.
const KNOWN: TimeDelta = TimeDelta::hours(1);

/// The guard of one process, with what it knows about journeys.
#[derive(Debug, Default)]
pub struct SpikeGuard {
    usual: Mutex<HashMap<String, (DateTime<Utc>, i64)>>,
}

impl SpikeGuard {
    /// Holds each journey that too many contacts entered within the last ten minutes. Returns how many it held.
    /// Workers that race hold a journey once.
    pub async fn check(&self, cx: &Context) -> db::Result<usize> {
        let Some(floor) = cx.config.spike_floor else {
            return Ok(0);
        };
        let now = cx.clock.now();
        let catalog = cx.catalog();
        let journeys = catalog.journeys().map(|one| one.definition.id.clone());
        let journeys: Vec<String> = journeys.collect();
        let crowded = {
            let mut conn = cx.db.conn().await?;
            db::journeys_crowded(&mut conn, &journeys, now - WINDOW, floor, now).await?
        };
        let mut held = 0;
        for one in crowded {
            let usual = self.usual(cx, &one.journey_id, now).await?;
            let limit = floor.max(usual.saturating_mul(TIMES));
            if one.people > limit {
                held += usize::from(hold(cx, &one, (limit, usual), now).await?);
            }
        }
        Ok(held)
    }

    async fn usual(&self, cx: &Context, journey: &str, now: DateTime<Utc>) -> db::Result<i64> {
        let lock = || self.usual.lock().unwrap_or_else(PoisonError::into_inner);
        let known = lock().get(journey).copied();
        if let Some((at, usual)) = known
            && (at..at + KNOWN).contains(&now)
        {
            return Ok(usual);
        }
        let usual = {
            let mut conn = cx.db.conn().await?;
            db::journey_usual(&mut conn, journey, (now - BACK, now - RECENT)).await?
        };
        lock().insert(journey.to_owned(), (now, usual));
        Ok(usual)
    }
}

/// Holds a journey and writes the alerts in one transaction. False where it is paused already.
async fn hold(
    cx: &Context,
    one: &Entered,
    (limit, usual): (i64, i64),
    now: DateTime<Utc>,
) -> db::Result<bool> {
    let scope = Scope::Journey(one.journey_id.clone());
    let people = one.people;
    let usual = match usual {
        0 => "nobody entered it before".to_owned(),
        usual => format!("its busiest ten minutes of four weeks had {usual}"),
    };
    let reason = format!("{people} contacts entered it within ten minutes, {usual}");
    let work = async |mut tx: Tx| {
        let about = (&scope, PauseCause::Spike);
        let made = begin(&mut tx, &WHO, about, Some(&reason), now).await?;
        if made {
            alert(&mut tx, one, (limit, &reason), now).await?;
        }
        db::Result::Ok((tx, made))
    };
    cx.db.transact(work).await
}

/// One alert for each rule about enrolments, whether or not its own threshold is reached.
async fn alert(
    conn: &mut Conn,
    one: &Entered,
    (limit, reason): (i64, &str),
    now: DateTime<Utc>,
) -> db::Result<()> {
    let scope = Scope::Journey(one.journey_id.clone());
    let message = format!(
        "{} is held: {reason}. Its runs and mails wait and entries are kept until `{}`",
        scope.words(),
        scope.resume_command(PauseCause::Spike)
    );
    for rule in db::alert_rules_of(conn, Kind::Enrolments.name()).await? {
        let alert = NewAlert {
            id: ids::at(now),
            rule_id: rule,
            value: one.people as f64,
            threshold: limit as f64,
            cases: one.people,
            message: &message,
        };
        db::alert_insert(conn, &alert, now).await?;
    }
    Ok(())
}
