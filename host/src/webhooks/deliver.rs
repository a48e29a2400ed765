//! One attempt of a webhook delivery.

use chrono::TimeDelta;
use rand::Rng;
use std::sync::LazyLock;

use super::Poster;
use super::post::Posted;
use super::sign::signed_headers;
use crate::context::Context;
use crate::db::{self, ClaimedDelivery, DeliveryEnd, Tx};
use crate::states::DeliveryState;
use crate::telemetry::Outages;
use crate::telemetry::metrics::DELIVERIES;

/// Seconds between an attempt and the next: 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 10 h.
const WAITS: [i64; 7] = [5, 300, 1_800, 7_200, 18_000, 36_000, 36_000];
/// The longest `Retry-After` we honour.
const RETRY_AFTER_MAX: TimeDelta = TimeDelta::hours(24);
/// 410 Gone (RFC 9110 §15.5.11): the receiver wants no further deliveries.
const GONE: u16 = 410;

/// How long to wait after this many failed attempts; `None` where the delivery is given up.
pub fn wait_after(attempts: i32) -> Option<TimeDelta> {
    let place = usize::try_from(attempts).ok()?.checked_sub(1)?;
    let seconds = *WAITS.get(place)?;
    // Jitter, so that an endpoint that was down does not get all retries at once.
    let jitter = rand::rng().random_range(0..=seconds * 100);
    Some(TimeDelta::seconds(seconds) + TimeDelta::milliseconds(jitter))
}

/// Endpoints that accept nothing.
static DOWN: LazyLock<Outages> = LazyLock::new(Outages::default);

/// Posts a delivery and records the result. A 2xx answer accepts it; a 410 disables the endpoint.
pub async fn deliver(cx: &Context, poster: &Poster, one: ClaimedDelivery) -> db::Result<()> {
    let started = cx.clock.now();
    let mut secrets = vec![one.secret.as_str()];
    if one.previous_until.is_some_and(|until| until > started) {
        secrets.extend(one.previous_secret.as_deref());
    }
    let headers = signed_headers(&secrets, one.id, started, &one.body);
    let posted = poster.post(&one.url, headers, one.body, started).await;
    let now = cx.clock.now();
    let (status, response, error, retry_after) = match posted {
        Ok(Posted { status, .. }) if (200..300).contains(&status) => {
            (DeliveryState::Delivered, Some(status), None, None)
        }
        Ok(Posted {
            status,
            retry_after,
        }) => {
            let text = match status {
                300..400 => format!("answered {status}: redirects are not followed"),
                GONE => "answered 410: it wants no further deliveries".to_owned(),
                _ => format!("answered {status}"),
            };
            (
                DeliveryState::Pending,
                Some(status),
                Some(text),
                retry_after,
            )
        }
        Err(text) => (DeliveryState::Pending, None, Some(text), None),
    };
    let gone = response == Some(GONE);
    let retry_after = retry_after.map(|wait| TimeDelta::from_std(wait).unwrap_or(RETRY_AFTER_MAX));
    let retry_after = retry_after.unwrap_or_default().min(RETRY_AFTER_MAX);
    let retry_at = match status {
        DeliveryState::Pending if !gone => {
            wait_after(one.attempts).map(|wait| now + wait.max(retry_after))
        }
        _ => None,
    };
    let status = match retry_at {
        None if status == DeliveryState::Pending => DeliveryState::Failed,
        _ => status,
    };
    let key = one.endpoint_id.to_string();
    let outcome = match &error {
        Some(error) => {
            if let Some(failing) = DOWN.failed(&key) {
                tracing::warn!(endpoint.id = key, delivery.id = %one.id, event = one.event_type,
                    attempt = one.attempts, failures = failing.failures, error, "a webhook was not accepted");
            }
            "failed"
        }
        None => {
            if let Some(recovered) = DOWN.over(&key) {
                let seconds = recovered.seconds;
                tracing::info!(
                    endpoint.id = key,
                    seconds,
                    "a webhook endpoint accepts webhooks again"
                );
            }
            "delivered"
        }
    };
    DELIVERIES.add(&[outcome], 1);
    let end = DeliveryEnd {
        status,
        retry_at,
        response_status: response,
        error: error.as_deref(),
    };
    let (id, endpoint, claim) = (one.id, one.endpoint_id, one.claim);
    let work = |mut tx: Tx| async move {
        // The endpoint is locked first, in the same order as by its deletion.
        db::webhook_posted(&mut tx, endpoint, now).await?;
        if gone {
            let why = "the endpoint answered 410 Gone";
            db::webhook_switch_off(&mut tx, endpoint, why, now).await?;
        }
        db::delivery_end(&mut tx, id, claim, end, now).await?;
        Ok((tx, ()))
    };
    cx.db.transact(work).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_seven_retries_over_a_day_and_more() {
        let waits: Vec<_> = (1..=7).map(|n| wait_after(n).unwrap()).collect();
        for (wait, seconds) in waits.iter().zip(WAITS) {
            let least = TimeDelta::seconds(seconds);
            assert!(*wait >= least && *wait <= least * 11 / 10, "{wait}");
        }
        assert_eq!(wait_after(8), None);
        assert_eq!(wait_after(0), None);
    }
}
