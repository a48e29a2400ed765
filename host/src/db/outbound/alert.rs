//! Alert rules and their alerts.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::db::transact::stir;
use crate::db::{Conn, Entered, Result, Topic};
use crate::ids::{AlertRuleId, Claim};
use crate::states::DeliveryState;

#[derive(Clone)]
pub struct AlertRule {
    pub id: AlertRuleId,
    pub name: String,
    pub kind: String,
    pub threshold: f64,
    pub window_minutes: i32,
    pub minimum: i32,
    pub cooldown_minutes: i32,
    pub channel: String,
    pub target: String,
    pub secret: Option<String>,
    pub enabled: bool,
    pub last_alert_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// Counts within a period.
#[derive(Clone, Copy, Debug, Default)]
pub struct AlertFigure {
    pub sent: i64,
    pub bounced: i64,
    pub complained: i64,
    /// Mails that no provider accepted, without dismissed ones.
    pub undelivered: i64,
    /// Runs that failed or are stuck, without dismissed ones.
    pub broken_runs: i64,
}

pub struct NewAlert<'a> {
    pub id: Uuid,
    pub rule_id: AlertRuleId,
    pub value: f64,
    pub threshold: f64,
    pub cases: i64,
    pub message: &'a str,
}

/// An alert that a worker is about to send.
pub struct ClaimedAlert {
    pub id: Uuid,
    pub rule_id: AlertRuleId,
    pub name: String,
    pub kind: String,
    pub channel: String,
    pub target: String,
    pub secret: Option<String>,
    pub value: f64,
    pub threshold: f64,
    pub cases: i64,
    pub window_minutes: i32,
    pub message: String,
    /// Including the one that begins.
    pub attempts: i32,
    pub claim: Claim,
    pub created_at: DateTime<Utc>,
}

pub struct AlertEnd<'a> {
    pub status: DeliveryState,
    pub retry_at: Option<DateTime<Utc>>,
    pub error: Option<&'a str>,
}

/// An alert as listed.
pub struct AlertRow {
    pub id: Uuid,
    pub rule_id: AlertRuleId,
    pub rule_name: String,
    pub kind: String,
    pub channel: String,
    pub value: f64,
    pub threshold: f64,
    pub cases: i64,
    pub message: String,
    pub status: DeliveryState,
    pub attempts: i32,
    pub error: Option<String>,
    pub created_at: DateTime<Utc>,
}

/// Creates or updates a rule. It is due for a check at once.
pub async fn alert_rule_put(conn: &mut Conn, rule: &AlertRule) -> Result<()> {
    sqlx::query!(
        "INSERT INTO alert_rules (id, name, type, threshold, window_minutes, minimum,
             cooldown_minutes, channel, target, secret, enabled, next_check_at, created_at,
             updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $13, $12, $13)
         ON CONFLICT (id) DO UPDATE SET name = excluded.name, type = excluded.type,
             threshold = excluded.threshold, window_minutes = excluded.window_minutes,
             minimum = excluded.minimum, cooldown_minutes = excluded.cooldown_minutes,
             channel = excluded.channel, target = excluded.target, secret = excluded.secret,
             enabled = excluded.enabled, next_check_at = excluded.next_check_at,
             updated_at = excluded.updated_at",
        rule.id as AlertRuleId,
        rule.name,
        rule.kind,
        rule.threshold,
        rule.window_minutes,
        rule.minimum,
        rule.cooldown_minutes,
        rule.channel,
        rule.target,
        rule.secret,
        rule.enabled,
        rule.created_at,
        rule.updated_at
    )
    .execute(conn)
    .await?;
    stir(Topic::Alerts);
    Ok(())
}

/// One rule, locked until the transaction ends.
pub async fn alert_rule_lock(conn: &mut Conn, id: AlertRuleId) -> Result<Option<AlertRule>> {
    sqlx::query_as!(
        AlertRule,
        r#"SELECT id AS "id: AlertRuleId", name, type AS kind, threshold, window_minutes, minimum,
                  cooldown_minutes, channel, target, secret, enabled, last_alert_at, created_at,
                  updated_at
           FROM alert_rules WHERE id = $1 FOR NO KEY UPDATE"#,
        id as AlertRuleId
    )
    .fetch_optional(conn)
    .await
}

/// Deletes a rule with its history.
pub async fn alert_rule_delete(conn: &mut Conn, id: AlertRuleId) -> Result<()> {
    sqlx::query!("DELETE FROM alert_rules WHERE id = $1", id as AlertRuleId)
        .execute(conn)
        .await?;
    Ok(())
}

/// A page of rules, newest first, and the total count.
pub async fn alert_rules_list(
    conn: &mut Conn,
    limit: i64,
    offset: i64,
) -> Result<(Vec<AlertRule>, i64)> {
    let rows = sqlx::query_as!(
        AlertRule,
        r#"SELECT id AS "id: AlertRuleId", name, type AS kind, threshold, window_minutes, minimum,
                  cooldown_minutes, channel, target, secret, enabled, last_alert_at, created_at,
                  updated_at
           FROM alert_rules ORDER BY created_at DESC, id DESC LIMIT $1 OFFSET $2"#,
        limit,
        offset
    )
    .fetch_all(&mut *conn)
    .await?;
    let total = sqlx::query_scalar!(r#"SELECT count(*) AS "total!" FROM alert_rules"#)
        .fetch_one(conn)
        .await?;
    Ok((rows, total))
}

/// The enabled rules of this type.
pub async fn alert_rules_of(conn: &mut Conn, kind: &str) -> Result<Vec<AlertRuleId>> {
    sqlx::query_scalar!(
        r#"SELECT id AS "id: AlertRuleId" FROM alert_rules WHERE enabled AND type = $1 ORDER BY id"#,
        kind
    )
    .fetch_all(conn)
    .await
}

/// The rule to check next, locked. Workers that race get different ones.
pub async fn alert_rule_due(conn: &mut Conn, now: DateTime<Utc>) -> Result<Option<AlertRule>> {
    sqlx::query_as!(
        AlertRule,
        r#"SELECT id AS "id: AlertRuleId", name, type AS kind, threshold, window_minutes, minimum,
                  cooldown_minutes, channel, target, secret, enabled, last_alert_at, created_at,
                  updated_at
           FROM alert_rules WHERE enabled AND next_check_at <= $1
           ORDER BY next_check_at LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED"#,
        now
    )
    .fetch_optional(conn)
    .await
}

pub async fn alert_rule_checked(
    conn: &mut Conn,
    id: AlertRuleId,
    next: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "UPDATE alert_rules SET next_check_at = $2 WHERE id = $1",
        id as AlertRuleId,
        next
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Counts from `since` until `until`. Each is read from an index.
pub async fn alert_figure(
    conn: &mut Conn,
    since: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<AlertFigure> {
    sqlx::query_as!(
        AlertFigure,
        r#"SELECT count(*) AS "sent!", count(bounced_at) AS "bounced!",
                  count(complained_at) AS "complained!",
                  (SELECT count(*) FROM email_sends
                   WHERE status IN ('failed', 'ambiguous') AND dismissed_at IS NULL
                     AND sent_at IS NULL AND updated_at >= $1 AND updated_at <= $2)
                      AS "undelivered!",
                  (SELECT count(*) FROM journey_states
                   WHERE status IN ('failed', 'stuck') AND dismissed_at IS NULL
                     AND updated_at >= $1 AND updated_at <= $2) AS "broken_runs!"
           FROM email_sends WHERE sent_at >= $1 AND sent_at <= $2"#,
        since,
        until
    )
    .fetch_one(conn)
    .await
}

/// Which of these journeys most contacts entered since, and how many.
pub async fn alert_entered(
    conn: &mut Conn,
    journeys: &[String],
    since: DateTime<Utc>,
) -> Result<Option<Entered>> {
    sqlx::query_as!(
        Entered,
        r#"SELECT j.id AS "journey_id!",
                  (SELECT count(*) FROM journey_states s
                   WHERE s.journey_id = j.id AND s.created_at >= $2) AS "people!"
           FROM unnest($1::text[]) AS j (id) ORDER BY 2 DESC, 1 LIMIT 1"#,
        journeys,
        since
    )
    .fetch_optional(conn)
    .await
}

/// Writes an alert, due at once, and when its rule was triggered.
pub async fn alert_insert(conn: &mut Conn, new: &NewAlert<'_>, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        "WITH spoke AS (UPDATE alert_rules SET last_alert_at = $7 WHERE id = $2)
         INSERT INTO alert_history (id, rule_id, value, threshold, cases, message, status,
                                    next_attempt_at, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, 'pending', $7, $7, $7)",
        new.id,
        new.rule_id as AlertRuleId,
        new.value,
        new.threshold,
        new.cases,
        new.message,
        now
    )
    .execute(conn)
    .await?;
    stir(Topic::Alerts);
    Ok(())
}

/// Claims alerts that are due until `lease_until`. Workers that race skip each other's.
pub async fn alert_claim(
    conn: &mut Conn,
    now: DateTime<Utc>,
    lease_until: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<ClaimedAlert>> {
    let claim = Claim::new(now);
    sqlx::query_as!(
        ClaimedAlert,
        r#"WITH due AS MATERIALIZED (
               SELECT id FROM alert_history WHERE next_attempt_at <= $1
               ORDER BY next_attempt_at LIMIT $3 FOR UPDATE SKIP LOCKED)
           UPDATE alert_history h SET next_attempt_at = $2, claim = $4, attempts = attempts + 1
           FROM due, alert_rules r
           WHERE h.id = due.id AND r.id = h.rule_id
           RETURNING h.id, h.rule_id AS "rule_id: AlertRuleId", r.name, r.type AS kind, r.channel,
                     r.target, r.secret, h.value, h.threshold, h.cases, r.window_minutes, h.message,
                     h.attempts, h.claim AS "claim!: Claim", h.created_at"#,
        now,
        lease_until,
        limit,
        claim as Claim
    )
    .fetch_all(conn)
    .await
}

/// Records the result of sending it. False where another worker has taken it over.
pub async fn alert_end(
    conn: &mut Conn,
    id: Uuid,
    claim: Claim,
    end: AlertEnd<'_>,
    now: DateTime<Utc>,
) -> Result<bool> {
    let done = sqlx::query!(
        "UPDATE alert_history SET status = $3, next_attempt_at = $4, error = $5, claim = NULL,
             updated_at = $6
         WHERE id = $1 AND claim = $2",
        id,
        claim as Claim,
        end.status.name(),
        end.retry_at,
        end.error,
        now
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Releases claims of alerts that were not sent yet; they are due at once.
pub async fn alerts_give_back(
    conn: &mut Conn,
    claims: &[(Uuid, Claim)],
    now: DateTime<Utc>,
) -> Result<()> {
    let ids: Vec<Uuid> = claims.iter().map(|one| one.0).collect();
    let claims: Vec<Claim> = claims.iter().map(|one| one.1).collect();
    sqlx::query!(
        "UPDATE alert_history a SET claim = NULL, next_attempt_at = $3,
             attempts = greatest(attempts - 1, 0)
         FROM unnest($1::uuid[], $2::uuid[]) AS h (id, claim)
         WHERE a.id = h.id AND a.claim = h.claim",
        &ids,
        &claims as &[Claim],
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// When the next rule is to be checked or the next alert to be sent.
pub async fn alert_next_due(conn: &mut Conn) -> Result<Option<DateTime<Utc>>> {
    sqlx::query_scalar!(
        "SELECT least((SELECT min(next_check_at) FROM alert_rules WHERE enabled),
                      (SELECT min(next_attempt_at) FROM alert_history
                       WHERE next_attempt_at IS NOT NULL))"
    )
    .fetch_one(conn)
    .await
}

/// A page of alerts, newest first, of one rule or all, and the total count.
pub async fn alerts_list(
    conn: &mut Conn,
    rule: Option<AlertRuleId>,
    limit: i64,
    offset: i64,
) -> Result<(Vec<AlertRow>, i64)> {
    let rows = sqlx::query_as!(
        AlertRow,
        r#"SELECT h.id, h.rule_id AS "rule_id: AlertRuleId", r.name AS rule_name, r.type AS kind,
                  r.channel, h.value, h.threshold, h.cases, h.message,
                  h.status AS "status: DeliveryState", h.attempts, h.error, h.created_at
           FROM alert_history h JOIN alert_rules r ON r.id = h.rule_id
           WHERE $1::uuid IS NULL OR h.rule_id = $1
           ORDER BY h.created_at DESC, h.id DESC LIMIT $2 OFFSET $3"#,
        rule as Option<AlertRuleId>,
        limit,
        offset
    )
    .fetch_all(&mut *conn)
    .await?;
    let total = sqlx::query_scalar!(
        r#"SELECT count(*) AS "total!" FROM alert_history
           WHERE $1::uuid IS NULL OR rule_id = $1"#,
        rule as Option<AlertRuleId>
    )
    .fetch_one(conn)
    .await?;
    Ok((rows, total))
}
