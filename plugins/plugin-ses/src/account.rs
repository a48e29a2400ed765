//! The account: its sending rate, and whether it may send
//! (<https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_GetAccount.html>).
//!
//! SES states no rate in its answers to mails. The plugin asks for it every ten minutes, so that the
//! host can keep it instead of having mails refused.

use std::time::Duration;

use hogsend_plugin_api::{Checked, Host, HttpRequest, Rate};
use serde::Deserialize;

use crate::{ACCESS_KEY, REGION, SECRET_KEY};

/// How long the answer counts; a changed quota is noticed after it.
const KEPT: Duration = Duration::from_secs(600);
/// How long a mail waits for the answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// What is stored where the answer has no rate, for example without the permission to ask.
const UNKNOWN: &str = "unknown";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Account {
    send_quota: Quota,
    /// Whether the account is out of the sandbox.
    #[serde(default)]
    production_access_enabled: Option<bool>,
    #[serde(default)]
    sending_enabled: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Quota {
    /// Mails per second.
    max_send_rate: f64,
}

/// The rate, from the cache or by `request`. `None` where SES does not tell it: mails then go out
/// without a limit until SES refuses one.
pub async fn rate(host: &Host, key: &str, request: HttpRequest) -> Option<Rate> {
    let known = match host.cache_get(key).await {
        Some(known) => known,
        None => {
            let answer = host.http(request.timeout(PATIENCE)).await;
            let account = answer.ok().filter(|answer| answer.status == 200);
            let account: Option<Account> = account.and_then(|answer| answer.json().ok());
            let rate = account.map(|account| account.send_quota.max_send_rate.to_string());
            let rate = rate.unwrap_or_else(|| UNKNOWN.into());
            host.cache_put(key, &rate, KEPT).await;
            rate
        }
    };
    per_second(known.parse().ok()?)
}

/// Whether the keys work and the account may send, by what `request` returns.
pub async fn check(host: &Host, request: HttpRequest) -> Vec<Checked> {
    let (key, account) = ("the access key", "the account");
    let Ok(answer) = host.http(request.timeout(PATIENCE)).await else {
        return vec![Checked::unknown(key)];
    };
    let error = answer.header("x-amzn-errortype").unwrap_or_default();
    let name = error.split(':').next().unwrap_or_default();
    let said: Option<Account> = answer.json().ok().filter(|_| answer.status == 200);
    let Some(said) = said else {
        // A key that may only send may not ask.
        let unknown = answer.status >= 429 || name.starts_with("AccessDenied");
        return vec![if unknown {
            Checked::unknown(key)
        } else {
            Checked::faulty(
                key,
                format!("SES answered {} {name}", answer.status),
                format!("check {ACCESS_KEY}, {SECRET_KEY} and {REGION}, and this machine's clock"),
            )
        }];
    };
    let account = if said.production_access_enabled == Some(false) {
        Checked::faulty(
            account,
            "it is in the sandbox of this region, where recipients must be verified too",
            format!("request production access on the SES page 'Get set up', or check {REGION}"),
        )
    } else if said.sending_enabled == Some(false) {
        Checked::faulty(
            account,
            "its sending is paused",
            "look at the account's dashboard in the SES console",
        )
    } else {
        Checked::sound(account)
    };
    vec![Checked::sound(key), account]
}

/// Whole requests per window. A rate of less than one per second has a longer window.
fn per_second(rate: f64) -> Option<Rate> {
    if !rate.is_finite() || rate <= 0.0 {
        return None;
    }
    let (requests, per_ms) = if rate < 1.0 {
        (1, (1_000.0 / rate).ceil() as u64)
    } else {
        (rate as u32, 1_000)
    };
    Some(Rate::new(requests, Duration::from_millis(per_ms)))
}

#[cfg(test)]
mod tests {
    use super::per_second;

    #[test]
    fn a_rate_is_whole_requests_per_window() {
        let rate = |rate| per_second(rate).map(|rate| (rate.requests, rate.per_ms));
        for (stated, expected) in [
            (14.0, Some((14, 1_000))),
            (1.0, Some((1, 1_000))),
            (2.9, Some((2, 1_000))),
            (0.4, Some((1, 2_500))),
            (0.0, None),
            (-1.0, None),
            (f64::NAN, None),
            (f64::INFINITY, None),
        ] {
            assert_eq!(rate(stated), expected, "{stated}");
        }
    }
}
