//! What administrators do to alert rules.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::Kind;
use super::rules::{RuleChange, Surroundings};
use crate::audit::{Actor, Change, Refused, audit};
use crate::context::Context;
use crate::db::{self, AlertRule, Conn, Topic, Tx};
use crate::foreign::one_of;
use crate::ids::AlertRuleId;
use crate::webhooks::Poster;

/// A rule as a change left it.
pub struct Managed {
    pub rule: AlertRule,
    /// The secret, if the change created one: requests of the channel `webhook` are signed with it.
    pub secret: Option<String>,
}

/// Creates a rule of this kind. Name, channel and target are required.
pub async fn create(
    cx: &Context,
    poster: &Poster,
    actor: &Actor,
    kind: &str,
    settings: RuleChange,
) -> Result<Managed, Refused> {
    let now = cx.clock.now();
    let mut issues: Vec<_> = one_of("type", kind, <Kind as strum::VariantNames>::VARIANTS)
        .into_iter()
        .collect();
    let kind = Kind::parse(kind).unwrap_or(Kind::Bounces);
    let mut rule = AlertRule {
        id: AlertRuleId::new(now),
        name: String::new(),
        kind: kind.name().to_owned(),
        threshold: kind.usual_threshold(),
        window_minutes: 60,
        minimum: kind.usual_minimum(),
        cooldown_minutes: 60,
        channel: String::new(),
        target: String::new(),
        secret: None,
        enabled: true,
        last_alert_at: None,
        created_at: now,
        updated_at: now,
    };
    let settings = RuleChange {
        name: Some(settings.name.unwrap_or_default()),
        channel: Some(settings.channel.unwrap_or_default()),
        ..settings
    };
    let secret = settings.apply(around(cx, poster), &mut rule, &mut issues);
    Refused::unless_valid(issues)?;
    let work = async |mut tx: Tx| {
        db::alert_rule_put(&mut tx, &rule).await?;
        let change = Change::created(told(&rule));
        keep(&mut tx, actor, "alert_rule.create", rule.id, change, now).await?;
        db::stir(Topic::Alerts);
        db::Result::Ok((tx, ()))
    };
    cx.db.transact(work).await?;
    Ok(Managed { rule, secret })
}

/// Changes a rule. A new target of the channel `webhook` gets a new secret.
pub async fn change(
    cx: &Context,
    poster: &Poster,
    actor: &Actor,
    id: AlertRuleId,
    settings: &RuleChange,
) -> Result<Managed, Refused> {
    let now = cx.clock.now();
    let work = async |mut tx: Tx| {
        let mut rule = lock(&mut tx, id).await?;
        let before = told(&rule);
        let mut issues = Vec::new();
        let secret = settings
            .clone()
            .apply(around(cx, poster), &mut rule, &mut issues);
        Refused::unless_valid(issues)?;
        rule.updated_at = now;
        db::alert_rule_put(&mut tx, &rule).await?;
        let change = Change::changed(before, told(&rule));
        keep(&mut tx, actor, "alert_rule.update", id, change, now).await?;
        db::stir(Topic::Alerts);
        Ok::<_, Refused>((tx, Managed { rule, secret }))
    };
    cx.db.transact(work).await
}

/// Deletes a rule and its history.
pub async fn delete(cx: &Context, actor: &Actor, id: AlertRuleId) -> Result<(), Refused> {
    let now = cx.clock.now();
    let work = async |mut tx: Tx| {
        let rule = lock(&mut tx, id).await?;
        db::alert_rule_delete(&mut tx, id).await?;
        let change = Change::deleted(told(&rule));
        keep(&mut tx, actor, "alert_rule.delete", id, change, now).await?;
        Ok::<_, Refused>((tx, ()))
    };
    cx.db.transact(work).await
}

fn around<'a>(cx: &Context, poster: &'a Poster) -> Surroundings<'a> {
    Surroundings {
        poster,
        providers: cx.plugins().routes().transactional.len(),
    }
}

async fn lock(conn: &mut Conn, id: AlertRuleId) -> Result<AlertRule, Refused> {
    let found = db::alert_rule_lock(conn, id).await?;
    found.ok_or(Refused::NotFound("Alert rule not found"))
}

async fn keep(
    conn: &mut Conn,
    actor: &Actor,
    action: &str,
    id: AlertRuleId,
    change: Change,
    now: DateTime<Utc>,
) -> db::Result<()> {
    let about = ("alert_rule", &*id.to_string());
    audit(conn, actor, action, about, change, now).await
}

/// The target of a rule without the parts that may be a secret.
pub fn shown_target(rule: &AlertRule) -> String {
    if rule.channel == "email" {
        return rule.target.clone();
    }
    let url = reqwest::Url::parse(&rule.target).ok();
    url.map_or_else(String::new, |url| url.origin().ascii_serialization())
}

/// What the audit log stores about a rule.
fn told(rule: &AlertRule) -> Value {
    json!({
        "name": rule.name, "type": rule.kind, "threshold": rule.threshold,
        "windowMinutes": rule.window_minutes, "minimum": rule.minimum,
        "cooldownMinutes": rule.cooldown_minutes, "channel": rule.channel,
        "target": shown_target(rule), "enabled": rule.enabled,
    })
}
