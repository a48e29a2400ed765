//! Reports. Rates are fractions rounded to four decimals.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::lookup::unknown_journey;
use crate::app::App;
use crate::db::{self, Outcomes, RunCount};
use crate::foreign::Issue;
use crate::http::ApiError;
use crate::http::auth::{Caller, Read};
use crate::http::wire::openapi::Routes;
use crate::http::wire::openapi::{BadRequest, NotFound};
use crate::http::wire::params::{Name, Path, Query, time};
use crate::states::RunState;
use utoipa_axum::routes;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new()
        .routes(routes!(show_overview))
        .routes(routes!(show_email_metrics))
        .routes(routes!(show_deliverability))
        .routes(routes!(show_journeys_metrics))
        .routes(routes!(show_journey_metrics))
        .routes(routes!(show_event_metrics))
}

/// The period of reports without `since`, in days.
const SPAN_DAYS: i64 = 30;

/// `part / whole`, or 0 if `whole` is 0.
fn rate(part: i64, whole: i64) -> f64 {
    if whole <= 0 {
        return 0.0;
    }
    (part as f64 / whole as f64 * 10_000.0).round() / 10_000.0
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SpanQuery {
    /// 30 days before `until` by default.
    #[serde(default, deserialize_with = "time")]
    since: Option<DateTime<Utc>>,
    /// Now by default.
    #[serde(default, deserialize_with = "time")]
    until: Option<DateTime<Utc>>,
}

impl SpanQuery {
    fn read(&self, app: &App) -> Result<(DateTime<Utc>, DateTime<Utc>), ApiError> {
        let until = self
            .until
            .unwrap_or_else(|| app.clock.now() + TimeDelta::seconds(1));
        let since = self
            .since
            .or_else(|| until.checked_sub_signed(TimeDelta::days(SPAN_DAYS)));
        match since {
            Some(since) if since < until => Ok((since, until)),
            _ => Err(ApiError::validation(&[Issue::new(
                "since",
                "must be before until",
            )])),
        }
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OverviewOut {
    total_contacts: i64,
    /// Runs that are active or waiting.
    active_journeys: i64,
    #[serde(rename = "emailsSent24h")]
    emails_sent_24h: i64,
    #[serde(rename = "emailsSent7d")]
    emails_sent_7d: i64,
    #[serde(rename = "emailsSent30d")]
    emails_sent_30d: i64,
    since: DateTime<Utc>,
    until: DateTime<Utc>,
    /// Mails sent in this period.
    emails_sent: i64,
    /// The fraction of these mails that bounced.
    bounce_rate: f64,
    /// The fraction of the mails sent in the last 30 days that bounced.
    #[serde(rename = "bounceRate30d")]
    bounce_rate_30d: f64,
    /// The fraction of contacts that unsubscribed from all mail.
    unsubscribe_rate: f64,
}

/// Shows key figures of the installation, and of the mails sent in a period.
#[utoipa::path(
    get, path = "/v1/admin/metrics/overview", tag = "metrics",
    security(("key" = ["read"]), ("session" = [])),
    params(SpanQuery),
    responses((status = 200, description = "The figures", body = OverviewOut), (status = 400, response = BadRequest)),
)]
pub async fn show_overview(
    State(app): State<App>,
    _: Caller<Read>,
    Query(span): Query<SpanQuery>,
) -> Result<Json<OverviewOut>, ApiError> {
    let (since, until) = span.read(&app)?;
    let mut conn = app.db.report().await?;
    let seen = db::metric_overview(&mut conn, app.clock.now()).await?;
    let (sent, bounced) = db::metric_sent(&mut conn, since, until).await?;
    Ok(Json(OverviewOut {
        total_contacts: seen.contacts,
        active_journeys: seen.runs,
        emails_sent_24h: seen.sent_24h,
        emails_sent_7d: seen.sent_7d,
        emails_sent_30d: seen.sent_30d,
        since,
        until,
        emails_sent: sent,
        bounce_rate: rate(bounced, sent),
        bounce_rate_30d: rate(seen.bounced_30d, seen.sent_30d),
        unsubscribe_rate: rate(seen.unsubscribed, seen.contacts),
    }))
}

/// Delivery, opens and clicks of a template's mails.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TemplateMetricsOut {
    template_key: String,
    sent: i64,
    delivered: i64,
    opened: i64,
    clicked: i64,
    bounced: i64,
    /// The fraction of sent mails.
    delivery_rate: f64,
    /// The fraction of delivered mails; of sent mails if the provider reports no deliveries.
    open_rate: f64,
    /// Relative to the same mails as `openRate`.
    click_rate: f64,
}

impl From<Outcomes> for TemplateMetricsOut {
    fn from(seen: Outcomes) -> Self {
        let reached = if seen.delivered > 0 {
            seen.delivered
        } else {
            seen.sent
        };
        Self {
            template_key: seen.name,
            sent: seen.sent,
            delivered: seen.delivered,
            opened: seen.opened,
            clicked: seen.clicked,
            bounced: seen.bounced,
            delivery_rate: rate(seen.delivered, seen.sent),
            open_rate: rate(seen.opened, reached),
            click_rate: rate(seen.clicked, reached),
        }
    }
}

#[derive(Serialize, ToSchema)]
pub struct EmailMetricsOut {
    since: DateTime<Utc>,
    until: DateTime<Utc>,
    /// The most frequently sent template first.
    templates: Vec<TemplateMetricsOut>,
}

/// Shows delivery, opens and clicks of the mails sent in a period, by template.
#[utoipa::path(
    get, path = "/v1/admin/metrics/emails", tag = "metrics",
    security(("key" = ["read"]), ("session" = [])),
    params(SpanQuery),
    responses((status = 200, description = "The figures", body = EmailMetricsOut), (status = 400, response = BadRequest)),
)]
pub async fn show_email_metrics(
    State(app): State<App>,
    _: Caller<Read>,
    Query(span): Query<SpanQuery>,
) -> Result<Json<EmailMetricsOut>, ApiError> {
    let (since, until) = span.read(&app)?;
    let mut conn = app.db.report().await?;
    let seen = db::metric_templates(&mut conn, since, until).await?;
    Ok(Json(EmailMetricsOut {
        since,
        until,
        templates: seen.into_iter().map(TemplateMetricsOut::from).collect(),
    }))
}

/// Deliveries, bounces, complaints and engagement of one provider's mails.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeliverabilityRowOut {
    provider: String,
    sent: i64,
    delivered: i64,
    bounced: i64,
    complained: i64,
    delivery_rate: f64,
    bounce_rate: f64,
    complaint_rate: f64,
}

impl From<Outcomes> for DeliverabilityRowOut {
    fn from(seen: Outcomes) -> Self {
        Self {
            provider: seen.name,
            sent: seen.sent,
            delivered: seen.delivered,
            bounced: seen.bounced,
            complained: seen.complained,
            delivery_rate: rate(seen.delivered, seen.sent),
            bounce_rate: rate(seen.bounced, seen.sent),
            complaint_rate: rate(seen.complained, seen.sent),
        }
    }
}

#[derive(Serialize, ToSchema)]
pub struct DeliverabilityOut {
    since: DateTime<Utc>,
    until: DateTime<Utc>,
    providers: Vec<DeliverabilityRowOut>,
}

/// Shows deliveries, bounces and complaints of the mails sent in a period, by provider.
#[utoipa::path(
    get, path = "/v1/admin/metrics/emails/deliverability", tag = "metrics",
    security(("key" = ["read"]), ("session" = [])),
    params(SpanQuery),
    responses((status = 200, description = "The figures", body = DeliverabilityOut), (status = 400, response = BadRequest)),
)]
pub async fn show_deliverability(
    State(app): State<App>,
    _: Caller<Read>,
    Query(span): Query<SpanQuery>,
) -> Result<Json<DeliverabilityOut>, ApiError> {
    let (since, until) = span.read(&app)?;
    let mut conn = app.db.report().await?;
    let seen = db::metric_providers(&mut conn, since, until).await?;
    Ok(Json(DeliverabilityOut {
        since,
        until,
        providers: seen.into_iter().map(DeliverabilityRowOut::from).collect(),
    }))
}

/// Enrolments and outcomes of a journey's runs.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct JourneyMetricsOut {
    journey_id: String,
    /// Runs that started.
    enrolled: i64,
    /// Runs by status.
    counts: BTreeMap<String, i64>,
    /// The fraction of finished runs that completed.
    completion_rate: f64,
    /// The fraction of finished runs that failed.
    failure_rate: f64,
}

impl JourneyMetricsOut {
    fn new(id: &str, all: &[RunCount]) -> Self {
        let mine = all.iter().filter(|one| one.journey_id == id);
        let counts: BTreeMap<RunState, i64> = mine.map(|one| (one.status, one.count)).collect();
        let count = |status: RunState| counts.get(&status).copied().unwrap_or_default();
        let (completed, failed) = (count(RunState::Completed), count(RunState::Failed));
        let over = completed + failed + count(RunState::Exited);
        Self {
            journey_id: id.to_owned(),
            enrolled: counts.values().sum(),
            completion_rate: rate(completed, over),
            failure_rate: rate(failed, over),
            counts: counts
                .iter()
                .map(|(status, count)| (status.to_string(), *count))
                .collect(),
        }
    }
}

#[derive(Serialize, ToSchema)]
pub struct JourneysMetricsOut {
    since: DateTime<Utc>,
    until: DateTime<Utc>,
    journeys: Vec<JourneyMetricsOut>,
}

/// Shows the outcomes of the runs that started in a period, by journey.
#[utoipa::path(
    get, path = "/v1/admin/metrics/journeys", tag = "metrics",
    security(("key" = ["read"]), ("session" = [])),
    params(SpanQuery),
    responses((status = 200, description = "The figures", body = JourneysMetricsOut), (status = 400, response = BadRequest)),
)]
pub async fn show_journeys_metrics(
    State(app): State<App>,
    _: Caller<Read>,
    Query(span): Query<SpanQuery>,
) -> Result<Json<JourneysMetricsOut>, ApiError> {
    let (since, until) = span.read(&app)?;
    let mut conn = app.db.report().await?;
    let counts = db::metric_runs(&mut conn, None, since, until).await?;
    let catalog = app.catalog();
    let journeys = catalog.journeys();
    let journeys = journeys.map(|entry| JourneyMetricsOut::new(&entry.definition.id, &counts));
    Ok(Json(JourneysMetricsOut {
        since,
        until,
        journeys: journeys.collect(),
    }))
}

#[derive(Serialize, ToSchema)]
pub struct OneJourneyMetricsOut {
    since: DateTime<Utc>,
    until: DateTime<Utc>,
    journey: JourneyMetricsOut,
    /// The journey's mails sent in this period, whenever their runs started.
    templates: Vec<TemplateMetricsOut>,
}

/// Shows the outcomes of one journey's runs that started in a period, and its mails sent in it.
#[utoipa::path(
    get, path = "/v1/admin/metrics/journeys/{id}", tag = "metrics",
    security(("key" = ["read"]), ("session" = [])),
    params(("id" = String, Path), SpanQuery),
    responses((status = 200, description = "The figures", body = OneJourneyMetricsOut), (status = 400, response = BadRequest), (status = 404, response = NotFound)),
)]
pub async fn show_journey_metrics(
    State(app): State<App>,
    _: Caller<Read>,
    Path(Name(id)): Path<Name>,
    Query(span): Query<SpanQuery>,
) -> Result<Json<OneJourneyMetricsOut>, ApiError> {
    if app.catalog().journey(&id).is_none() {
        return Err(unknown_journey());
    }
    let (since, until) = span.read(&app)?;
    let mut conn = app.db.report().await?;
    let counts = db::metric_runs(&mut conn, Some(&id), since, until).await?;
    let seen = db::metric_journey_mails(&mut conn, &id, since, until).await?;
    Ok(Json(OneJourneyMetricsOut {
        since,
        until,
        journey: JourneyMetricsOut::new(&id, &counts),
        templates: seen.into_iter().map(TemplateMetricsOut::from).collect(),
    }))
}

#[derive(Serialize, ToSchema)]
pub struct EventTallyOut {
    name: String,
    count: i64,
    /// How many contacts the events belong to.
    people: i64,
}

#[derive(Serialize, ToSchema)]
pub struct EventMetricsOut {
    since: DateTime<Utc>,
    until: DateTime<Utc>,
    /// At most 100 names, the most frequent first.
    events: Vec<EventTallyOut>,
}

/// Shows how often each event was received in a period.
#[utoipa::path(
    get, path = "/v1/admin/metrics/events", tag = "metrics",
    security(("key" = ["read"]), ("session" = [])),
    params(SpanQuery),
    responses((status = 200, description = "The figures", body = EventMetricsOut), (status = 400, response = BadRequest)),
)]
pub async fn show_event_metrics(
    State(app): State<App>,
    _: Caller<Read>,
    Query(span): Query<SpanQuery>,
) -> Result<Json<EventMetricsOut>, ApiError> {
    let (since, until) = span.read(&app)?;
    let mut conn = app.db.report().await?;
    let seen = db::metric_events(&mut conn, since, until).await?;
    let events = seen.into_iter().map(|one| EventTallyOut {
        name: one.name,
        count: one.count,
        people: one.people,
    });
    Ok(Json(EventMetricsOut {
        since,
        until,
        events: events.collect(),
    }))
}

#[cfg(test)]
mod tests {
    use super::rate;

    #[test]
    fn rates_are_fractions_of_four_places_and_of_nothing_nothing() {
        assert_eq!(rate(1, 3), 0.3333);
        assert_eq!(rate(2, 3), 0.6667);
        assert_eq!(rate(0, 0), 0.0);
        assert_eq!(rate(5, 5), 1.0);
    }
}
