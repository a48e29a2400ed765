//! Alert rules, which notify administrators when something goes wrong, and their history.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::alerts::RuleChange;
use crate::alerts::manage::{self, Managed, shown_target};
use crate::app::App;
use crate::db::{self, AlertRow, AlertRule};
use crate::foreign::Issue;
use crate::http::ApiError;
use crate::http::auth::{Caller, FullAdmin, Read};
use crate::http::product::contacts::ErasedOut;
use crate::http::wire::body::JsonBody;
use crate::http::wire::openapi::Routes;
use crate::http::wire::openapi::{BadRequest, NotFound};
use crate::http::wire::paging::{Part, PartParams};
use crate::http::wire::params::{Path, Query};
use crate::http::wire::words::{AlertChannel, AlertType};
use crate::ids::AlertRuleId;
use crate::states::DeliveryState;

use utoipa_axum::routes;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list_alert_rules, create_alert_rule))
        .routes(routes!(change_alert_rule, delete_alert_rule))
        .routes(routes!(list_alert_history))
}

/// An alert rule.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AlertRuleOut {
    id: AlertRuleId,
    name: String,
    #[schema(value_type = AlertType)]
    #[serde(rename = "type")]
    kind: String,
    /// A fraction of mails from 0 to 1, or a whole number, depending on the `type`.
    threshold: f64,
    window_minutes: i32,
    minimum: i32,
    cooldown_minutes: i32,
    #[schema(value_type = AlertChannel)]
    channel: String,
    /// For the channel `email` the address; for the others only the host, since the rest of the URL may
    /// be a secret.
    target: String,
    enabled: bool,
    last_alert_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<AlertRule> for AlertRuleOut {
    fn from(rule: AlertRule) -> Self {
        Self {
            id: rule.id,
            target: shown_target(&rule),
            name: rule.name,
            kind: rule.kind,
            threshold: rule.threshold,
            window_minutes: rule.window_minutes,
            minimum: rule.minimum,
            cooldown_minutes: rule.cooldown_minutes,
            channel: rule.channel,
            enabled: rule.enabled,
            last_alert_at: rule.last_alert_at,
            created_at: rule.created_at,
            updated_at: rule.updated_at,
        }
    }
}

#[derive(Serialize, ToSchema)]
pub struct AlertRulesOut {
    rules: Vec<AlertRuleOut>,
    total: i64,
    limit: i64,
    offset: i64,
}

#[derive(Serialize, ToSchema)]
pub struct OneAlertRuleOut {
    rule: AlertRuleOut,
    /// Signs the requests of the channel `webhook`. Only the call that creates the secret returns it.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

impl From<Managed> for OneAlertRuleOut {
    fn from(managed: Managed) -> Self {
        Self {
            rule: managed.rule.into(),
            secret: managed.secret,
        }
    }
}

/// Lists the alert rules, newest first.
#[utoipa::path(
    get, path = "/v1/admin/alerts/rules", tag = "alerts",
    security(("key" = ["read"]), ("session" = [])),
    params(PartParams),
    responses((status = 200, description = "A page of rules", body = AlertRulesOut), (status = 400, response = BadRequest)),
)]
pub async fn list_alert_rules(
    State(app): State<App>,
    _: Caller<Read>,
    page: Part,
) -> Result<Json<AlertRulesOut>, ApiError> {
    let mut conn = app.db.report().await?;
    let (rules, total) = db::alert_rules_list(&mut conn, page.limit, page.offset).await?;
    Ok(Json(AlertRulesOut {
        rules: rules.into_iter().map(AlertRuleOut::from).collect(),
        total,
        limit: page.limit,
        offset: page.offset,
    }))
}

/// A new alert rule.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AlertRuleIn {
    #[schema(value_type = String, min_length = 1, max_length = 100)]
    name: Option<String>,
    #[serde(rename = "type")]
    #[schema(value_type = AlertType, example = "bounce_rate_exceeded")]
    kind: Option<String>,
    /// The value that raises the alert. For rates, the fraction of mails to exceed; defaults: 0.05
    /// bounced, 0.1 not accepted by a provider, 0.001 complained about. For the other types, the number
    /// to reach; defaults: 5 broken runs, 1 provider that takes no mail, 300 seconds that work has
    /// waited, 120 seconds without a worker, 1000 enrolments in one journey.
    threshold: Option<f64>,
    /// How many minutes back the rule looks; 60 by default.
    #[schema(minimum = 5, maximum = 10080)]
    window_minutes: Option<i64>,
    /// The fewest mails for which a rate is evaluated: 50 by default, 1000 for complaints.
    #[schema(minimum = 1, maximum = 1000000000)]
    minimum: Option<i64>,
    /// For how many minutes after an alert the rule raises no further one; 60 by default.
    #[schema(minimum = 1, maximum = 10080)]
    cooldown_minutes: Option<i64>,
    #[schema(value_type = AlertChannel, example = "slack")]
    channel: Option<String>,
    /// The URL of a webhook, of a Slack incoming webhook, or an email address, depending on the channel.
    #[schema(value_type = String, max_length = 2048)]
    target: Option<String>,
    /// True by default.
    enabled: Option<bool>,
}

/// Changes to an alert rule. Absent fields keep their values.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AlertRuleChangeIn {
    #[schema(min_length = 1, max_length = 100)]
    name: Option<String>,
    threshold: Option<f64>,
    #[schema(minimum = 5, maximum = 10080)]
    window_minutes: Option<i64>,
    #[schema(minimum = 1, maximum = 1000000000)]
    minimum: Option<i64>,
    #[schema(minimum = 1, maximum = 10080)]
    cooldown_minutes: Option<i64>,
    /// Requires a `target` in the same request.
    #[schema(value_type = Option<AlertChannel>)]
    channel: Option<String>,
    #[schema(max_length = 2048)]
    target: Option<String>,
    enabled: Option<bool>,
}

/// Creates an alert rule. A worker evaluates it every minute.
#[utoipa::path(
    post, path = "/v1/admin/alerts/rules", tag = "alerts",
    security(("key" = ["full-admin"]), ("session" = [])),
    request_body = AlertRuleIn,
    responses((status = 201, description = "The new rule", body = OneAlertRuleOut), (status = 400, response = BadRequest)),
)]
pub async fn create_alert_rule(
    State(app): State<App>,
    caller: Caller<FullAdmin>,
    JsonBody(body): JsonBody<AlertRuleIn>,
) -> Result<(StatusCode, Json<OneAlertRuleOut>), ApiError> {
    let kind = body.kind.unwrap_or_default();
    let settings = RuleChange {
        name: body.name,
        threshold: body.threshold,
        window_minutes: body.window_minutes,
        minimum: body.minimum,
        cooldown_minutes: body.cooldown_minutes,
        channel: body.channel,
        target: body.target,
        enabled: body.enabled,
    };
    let made = manage::create(&app, &app.poster, &caller.actor, &kind, settings).await?;
    Ok((StatusCode::CREATED, Json(made.into())))
}

/// Changes an alert rule. A new target of the channel `webhook` gets a new secret.
#[utoipa::path(
    patch, path = "/v1/admin/alerts/rules/{id}", tag = "alerts",
    security(("key" = ["full-admin"]), ("session" = [])),
    params(("id" = AlertRuleId, Path)),
    request_body = AlertRuleChangeIn,
    responses((status = 200, description = "The rule as it is now", body = OneAlertRuleOut), (status = 400, response = BadRequest), (status = 404, response = NotFound)),
)]
pub async fn change_alert_rule(
    State(app): State<App>,
    caller: Caller<FullAdmin>,
    Path(id): Path<AlertRuleId>,
    JsonBody(body): JsonBody<AlertRuleChangeIn>,
) -> Result<Json<OneAlertRuleOut>, ApiError> {
    let settings = body.into();
    let changed = manage::change(&app, &app.poster, &caller.actor, id, &settings).await?;
    Ok(Json(changed.into()))
}

impl From<AlertRuleChangeIn> for RuleChange {
    fn from(change: AlertRuleChangeIn) -> Self {
        Self {
            name: change.name,
            threshold: change.threshold,
            window_minutes: change.window_minutes,
            minimum: change.minimum,
            cooldown_minutes: change.cooldown_minutes,
            channel: change.channel,
            target: change.target,
            enabled: change.enabled,
        }
    }
}

/// Deletes an alert rule and its history.
#[utoipa::path(
    delete, path = "/v1/admin/alerts/rules/{id}", tag = "alerts",
    security(("key" = ["full-admin"]), ("session" = [])),
    params(("id" = AlertRuleId, Path)),
    responses((status = 200, description = "The rule is deleted", body = ErasedOut), (status = 404, response = NotFound)),
)]
pub async fn delete_alert_rule(
    State(app): State<App>,
    caller: Caller<FullAdmin>,
    Path(id): Path<AlertRuleId>,
) -> Result<Json<ErasedOut>, ApiError> {
    manage::delete(&app, &caller.actor, id).await?;
    Ok(Json(ErasedOut { deleted: true }))
}

/// An alert that was raised.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AlertOut {
    id: Uuid,
    rule_id: AlertRuleId,
    rule_name: String,
    #[schema(value_type = AlertType)]
    #[serde(rename = "type")]
    kind: String,
    #[schema(value_type = AlertChannel)]
    channel: String,
    value: f64,
    threshold: f64,
    /// How many mails, runs or other things the value was computed from.
    cases: i64,
    message: String,
    /// Whether the notification was delivered.
    status: DeliveryState,
    attempts: i32,
    error: Option<String>,
    created_at: DateTime<Utc>,
}

impl From<AlertRow> for AlertOut {
    fn from(row: AlertRow) -> Self {
        Self {
            id: row.id,
            rule_id: row.rule_id,
            rule_name: row.rule_name,
            kind: row.kind,
            channel: row.channel,
            value: (row.value * 10_000.0).round() / 10_000.0,
            threshold: row.threshold,
            cases: row.cases,
            message: row.message,
            status: row.status,
            attempts: row.attempts,
            error: row.error,
            created_at: row.created_at,
        }
    }
}

#[derive(Serialize, ToSchema)]
pub struct AlertsOut {
    history: Vec<AlertOut>,
    total: i64,
    limit: i64,
    offset: i64,
}

#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct AlertsQuery {
    /// Only the alerts of this rule.
    #[param(value_type = Option<AlertRuleId>)]
    rule_id: Option<String>,
}

/// Lists the alerts that were raised, newest first.
#[utoipa::path(
    get, path = "/v1/admin/alerts/history", tag = "alerts",
    security(("key" = ["read"]), ("session" = [])),
    params(AlertsQuery, PartParams),
    responses((status = 200, description = "A page of alerts", body = AlertsOut), (status = 400, response = BadRequest)),
)]
pub async fn list_alert_history(
    State(app): State<App>,
    _: Caller<Read>,
    Query(query): Query<AlertsQuery>,
    page: Part,
) -> Result<Json<AlertsOut>, ApiError> {
    let rule: Option<AlertRuleId> = match query.rule_id.map(|text| text.parse()) {
        Some(Err(_)) => {
            let issue = Issue::new("ruleId", "must be the id of a rule");
            return Err(ApiError::validation(&[issue]));
        }
        Some(Ok(id)) => Some(id),
        None => None,
    };
    let mut conn = app.db.report().await?;
    let (rows, total) = db::alerts_list(&mut conn, rule, page.limit, page.offset).await?;
    Ok(Json(AlertsOut {
        history: rows.into_iter().map(AlertOut::from).collect(),
        total,
        limit: page.limit,
        offset: page.offset,
    }))
}
