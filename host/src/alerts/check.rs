//! Looking at what a rule looks at.

use chrono::TimeDelta;

use super::Kind;
use crate::app::App;
use crate::db::{self, NewAlert, Tx};
use crate::ids;

/// How often a rule is looked at.
const EVERY: TimeDelta = TimeDelta::minutes(1);

/// Looks at the rule that is due first and writes an alert where it is exceeded. Returns whether
/// there was one. Workers that race take different rules, so an alert is written once.
pub async fn check_next(app: &App) -> db::Result<bool> {
    app.db.transact(|tx| check(app, tx)).await
}

async fn check(app: &App, mut tx: Tx) -> db::Result<(Tx, bool)> {
    let now = app.clock.now();
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
    let since = now - TimeDelta::minutes(rule.window_minutes.into());
    let figure = db::alert_figure(&mut tx, since, now).await?;
    let (value, cases) = kind.value(&figure);
    if !kind.exceeds(value, cases, rule.threshold, rule.minimum) {
        return Ok((tx, true));
    }
    let message = kind.describe(value, cases, rule.threshold, rule.window_minutes);
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
