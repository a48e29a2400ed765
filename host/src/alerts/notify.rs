//! Sending an alert.

use chrono::{DateTime, Utc};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use serde_json::json;

use super::{EVENT_TYPE, TEMPLATE};
use crate::context::Context;
use crate::db::{self, AlertEnd, ClaimedAlert, NewIdentity, Tx};
use crate::ingest;
use crate::mail;
use crate::states::DeliveryState;
use crate::webhooks::{Poster, signed_headers, timestamp, wait_after};

/// Sends one alert and records the result. An alert that was not accepted is retried on the
/// schedule of webhooks.
pub async fn notify(cx: &Context, poster: &Poster, alert: ClaimedAlert) -> db::Result<()> {
    if alert.channel == "email" {
        return write_mail(cx, &alert).await;
    }
    let started = cx.clock.now();
    let (headers, body) = match alert.channel.as_str() {
        "slack" => slack(&alert),
        _ => webhook(&alert, started),
    };
    let posted = poster.post(&alert.target, headers, body, started).await;
    let now = cx.clock.now();
    let error = match posted {
        Ok(posted) if (200..300).contains(&posted.status) => None,
        Ok(posted) => Some(format!("answered {}", posted.status)),
        Err(error) => Some(error),
    };
    let retry_at = error
        .as_ref()
        .and_then(|_| Some(now + wait_after(alert.attempts)?));
    if let Some(error) = &error {
        tracing::warn!(alert.id = %alert.id, attempt = alert.attempts, error,
            "an alert was not accepted");
    }
    let end = AlertEnd {
        status: match (&error, retry_at) {
            (None, _) => DeliveryState::Delivered,
            (Some(_), Some(_)) => DeliveryState::Pending,
            (Some(_), None) => DeliveryState::Failed,
        },
        retry_at,
        error: error.as_deref(),
    };
    let mut conn = cx.db.conn().await?;
    db::alert_end(&mut conn, alert.id, alert.claim, end, now).await?;
    Ok(())
}

/// Signed like webhooks.
fn webhook(alert: &ClaimedAlert, now: DateTime<Utc>) -> (HeaderMap, String) {
    let body = json!({
        "type": EVENT_TYPE,
        "timestamp": timestamp(alert.created_at),
        "data": {
            "alertId": alert.id,
            "ruleId": alert.rule_id,
            "name": alert.name,
            "type": alert.kind,
            "value": alert.value,
            "threshold": alert.threshold,
            "cases": alert.cases,
            "windowMinutes": alert.window_minutes,
            "message": alert.message,
        },
    });
    let body = body.to_string();
    let secret = alert.secret.as_deref().unwrap_or_default();
    (signed_headers(&[secret], alert.id, now, &body), body)
}

/// An incoming webhook of Slack (<https://api.slack.com/messaging/webhooks>), whose address is its
/// secret. `&`, `<` and `>` are its control characters.
fn slack(alert: &ClaimedAlert) -> (HeaderMap, String) {
    let plain = |text: &str| {
        text.replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")
    };
    let text = format!("*{}*: {}", plain(&alert.name), plain(&alert.message));
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    (headers, json!({ "text": text }).to_string())
}

/// An alert mail is sent like any mail: first stored in the ledger, then sent once.
async fn write_mail(cx: &Context, alert: &ClaimedAlert) -> db::Result<()> {
    cx.db.transact(|tx| write_mail_in(cx, tx, alert)).await
}

async fn write_mail_in(cx: &Context, mut tx: Tx, alert: &ClaimedAlert) -> db::Result<(Tx, ())> {
    let now = cx.clock.now();
    let names = NewIdentity {
        external_id: None,
        email: Some(alert.target.clone()),
        ..NewIdentity::default()
    };
    let end = |status, error| AlertEnd {
        status,
        retry_at: None,
        error,
    };
    let put = ingest::put(&mut tx, &cx.catalog(), &names, Default::default(), now).await?;
    let Some(put) = put else {
        let end = end(DeliveryState::Failed, Some("the address could not be kept"));
        db::alert_end(&mut tx, alert.id, alert.claim, end, now).await?;
        return Ok((tx, ()));
    };
    let subject = format!("Alert: {}", alert.name);
    let text = [
        format!("{}.", alert.message),
        format!(
            "This alert comes from the rule \"{}\" of this Hogsend installation.",
            alert.name
        ),
    ];
    let key = format!("alert-{}", alert.id);
    let send = mail::plain(cx, &put.contact, (TEMPLATE, key), (&subject, &text), now);
    let error = send.mail.as_ref().err().copied();
    let status = if error.is_some() {
        DeliveryState::Failed
    } else {
        DeliveryState::Delivered
    };
    if db::alert_end(&mut tx, alert.id, alert.claim, end(status, error), now).await? {
        db::send_insert(&mut tx, &send, now).await?;
    }
    Ok((tx, ()))
}
