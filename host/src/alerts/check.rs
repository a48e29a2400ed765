//! Checking alert rules.

use chrono::{DateTime, TimeDelta, Utc};

use super::Kind;
use super::kind::Seen;
use crate::context::Context;
use crate::db::{self, AlertRule, Conn, HoldKind, NewAlert, Tx};
use crate::ids;
use crate::loops::BEAT;
use crate::mail;

/// How often a rule is checked.
const EVERY: TimeDelta = TimeDelta::minutes(1);

/// A provider that has kept failing for longer than this counts as unavailable, like one that
/// refuses its key.
const AWAY: TimeDelta = TimeDelta::minutes(5);

/// Checks the longest due rule and writes an alert where its threshold is exceeded. Returns whether
/// a rule was due. Workers that race take different rules, so an alert is written once.
pub async fn check_next(cx: &Context) -> db::Result<bool> {
    cx.db.transact(|tx| check(cx, tx)).await
}

async fn check(cx: &Context, mut tx: Tx) -> db::Result<(Tx, bool)> {
    let now = cx.clock.now();
    let Some(rule) = db::alert_rule_due(&mut tx, now).await? else {
        return Ok((tx, false));
    };
    db::alert_rule_checked(&mut tx, rule.id, now + EVERY).await?;
    let Some(kind) = Kind::parse(&rule.kind) else {
        return Ok((tx, true));
    };
    let silent_until = rule
        .last_alert_at
        .map(|at| at + TimeDelta::minutes(rule.cooldown_minutes.into()));
    if silent_until.is_some_and(|until| until > now) {
        return Ok((tx, true));
    }
    let seen = look(cx, &mut tx, kind, &rule, now).await?;
    let Seen { value, cases, .. } = seen;
    if !kind.exceeds(value, cases, rule.threshold, rule.minimum) {
        return Ok((tx, true));
    }
    let message = kind.describe(&seen, rule.threshold, rule.window_minutes);
    tracing::warn!(rule.id = %rule.id, rule = rule.name, message, "an alert was raised");
    let alert = NewAlert {
        id: ids::at(now),
        rule_id: rule.id,
        value,
        threshold: rule.threshold,
        cases,
        message: &message,
    };
    db::alert_insert(&mut tx, &alert, now).await?;
    Ok((tx, true))
}

/// The current value of the rule's figure.
async fn look(
    cx: &Context,
    conn: &mut Conn,
    kind: Kind,
    rule: &AlertRule,
    now: DateTime<Utc>,
) -> db::Result<Seen> {
    let since = now - TimeDelta::minutes(rule.window_minutes.into());
    Ok(match kind {
        Kind::Bounces | Kind::JourneyFailures | Kind::Delivery | Kind::Complaints => {
            let figure = db::alert_figure(conn, since, now).await?;
            let (value, cases) = kind.value(&figure);
            Seen {
                value,
                cases,
                what: String::new(),
            }
        }
        Kind::Providers => providers(cx, conn, now).await?,
        Kind::Lag => lag(conn, now).await?,
        Kind::Workers => {
            let missed = TimeDelta::from_std(BEAT * 3).unwrap_or_default();
            let seen = db::workers_seen(conn, now, missed).await?;
            // A missing worker counts from the creation of the rule at the earliest.
            let last = seen
                .last
                .map_or(rule.created_at, |at| at.max(rule.created_at));
            let away = if seen.count > 0 {
                0
            } else {
                (now - last).num_seconds()
            };
            Seen {
                value: away.max(0) as f64,
                cases: seen.count,
                what: String::new(),
            }
        }
        Kind::Enrolments => {
            let ids: Vec<String> = cx
                .catalog()
                .journeys()
                .map(|one| one.definition.id.clone())
                .collect();
            let busiest = db::alert_entered(conn, &ids, since).await?;
            busiest.map_or_else(Seen::default, |one| Seen {
                value: one.people as f64,
                cases: one.people,
                what: one.journey_id,
            })
        }
    })
}

async fn providers(cx: &Context, conn: &mut Conn, now: DateTime<Utc>) -> db::Result<Seen> {
    let states = mail::provider_states(cx, conn, now).await?;
    let mut unavailable = Vec::new();
    for state in &states {
        let shut = state.holds.iter().any(|hold| match hold.kind {
            HoldKind::Block => true,
            HoldKind::Rest => now - hold.since >= AWAY,
            HoldKind::Limit => false,
        });
        if shut {
            let reason = state.reason().unwrap_or_default();
            unavailable.push(format!("{} ({reason})", state.id));
        }
    }
    Ok(Seen {
        value: unavailable.len() as f64,
        cases: states.len() as i64,
        what: unavailable.join(", "),
    })
}

async fn lag(conn: &mut Conn, now: DateTime<Utc>) -> db::Result<Seen> {
    let queues = db::queues(conn, now).await?;
    let all = [
        ("runs", queues.runs),
        ("mails", queues.mails),
        ("captures", queues.captures),
        ("webhooks", queues.webhooks),
    ];
    let slowest = all
        .into_iter()
        .max_by_key(|(_, one)| one.oldest_seconds(now));
    Ok(slowest.map_or_else(Seen::default, |(name, one)| Seen {
        value: one.oldest_seconds(now) as f64,
        cases: one.due,
        what: name.to_owned(),
    }))
}
