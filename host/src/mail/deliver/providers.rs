//! Which provider takes a mail, and what its answers say about itself.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use hogsend_plugin_api::{BatchOutcome, Rate, SendOutcome};

use super::BLOCKED;
use crate::app::App;
use crate::db::{self, ProviderState};
use crate::plugins::DeliveryRef;

/// Failures in a row after which a provider is left alone.
const FAULTS_MAX: i32 = 5;
/// How long it is left alone the first time; each further failure doubles that.
const REST: TimeDelta = TimeDelta::seconds(30);
const REST_MAX: TimeDelta = TimeDelta::minutes(10);
/// A pause up to this long is a rate limit, and no reason to go elsewhere.
const BUSY_MAX: TimeDelta = TimeDelta::minutes(1);
/// A provider's rate is kept to with this much to spare: requests do not leave at the very moment
/// they should.
const SPARE: i64 = 16;

/// The active providers in the operator's order, and how each stands.
pub(super) struct Providers {
    all: Vec<DeliveryRef>,
    states: HashMap<String, ProviderState>,
    now: DateTime<Utc>,
}

impl Providers {
    /// Looks how they stand. A provider that was left alone long enough is open to one caller.
    pub async fn look(app: &App) -> db::Result<Self> {
        let now = app.clock.now();
        let all = app.plugins.deliveries();
        let ids: Vec<String> = all.iter().map(|one| one.id().to_owned()).collect();
        let mut conn = app.db.conn().await?;
        let mut states = db::provider_states(&mut conn, &ids, now).await?;
        for (id, state) in &mut states {
            if state.faults >= FAULTS_MAX && state.pause.is_none() {
                let until = now + TimeDelta::from_std(app.config.lease).unwrap_or(BLOCKED);
                if !db::provider_probe(&mut conn, id, until, now).await? {
                    state.pause = Some(db::Pause {
                        until,
                        reason: "it failed, and another mail tries whether it works again".into(),
                    });
                }
            }
        }
        Ok(Self { all, states, now })
    }

    /// The first that takes mail, or when to ask again and why. A provider that is merely busy is
    /// waited for; one that is down is passed over.
    pub fn first(&self) -> Result<DeliveryRef, (DateTime<Utc>, String)> {
        let mut soonest: Option<&db::Pause> = None;
        for provider in &self.all {
            let Some(pause) = self.pause_of(provider.id()) else {
                return Ok(provider.clone());
            };
            if soonest.is_none_or(|known| pause.until < known.until) {
                soonest = Some(pause);
            }
            if !self.is_down(provider.id()) {
                break;
            }
        }
        Err(match soonest {
            Some(pause) => {
                let reason = format!("the provider takes no mail for now: {}", pause.reason);
                (pause.until, reason)
            }
            None => (self.now + BLOCKED, "no delivery plugin is active".into()),
        })
    }

    /// Whether it failed several times in a row, or waits for someone to act.
    pub fn is_down(&self, id: &str) -> bool {
        self.states.get(id).is_some_and(|state| {
            let long = |pause: &db::Pause| pause.until - self.now > BUSY_MAX;
            state
                .pause
                .as_ref()
                .is_some_and(|pause| state.faults >= FAULTS_MAX || long(pause))
        })
    }

    pub fn find(&self, id: &str) -> Option<DeliveryRef> {
        self.all.iter().find(|one| one.id() == id).cloned()
    }

    /// When a paused provider may be asked again.
    pub fn pause_of(&self, id: &str) -> Option<&db::Pause> {
        self.states.get(id)?.pause.as_ref()
    }
}

/// The distance of two requests in microseconds that keeps this rate.
pub(super) fn slot_us(rate: Rate) -> i64 {
    let window = i64::try_from(rate.per_ms).unwrap_or(i64::MAX / 2_000) * 1_000;
    let slot = window / i64::from(rate.requests.max(1));
    slot + slot / SPARE
}

/// Takes over the rate an answer told of.
pub(super) async fn note_rate(app: &App, provider: &str, rate: Rate) {
    let noted = match app.db.conn().await {
        Ok(mut conn) => {
            db::provider_rate(&mut conn, provider, slot_us(rate), app.clock.now()).await
        }
        Err(error) => Err(error),
    };
    if let Err(error) = noted {
        tracing::warn!(provider, %error, "the provider's rate could not be noted");
    }
}

/// Counts failures in a row and leaves a provider alone that has too many: a circuit breaker, which
/// all workers share.
pub(super) async fn note_health(app: &App, provider: &str, outcome: &BatchOutcome) {
    let now = app.clock.now();
    let noted = async {
        let mut conn = app.db.conn().await?;
        let Some(reason) = fault(outcome) else {
            return db::provider_sound(&mut conn, provider, now).await;
        };
        let faults = db::provider_fault(&mut conn, provider, now).await?;
        if faults >= FAULTS_MAX {
            let doublings = u32::try_from(faults - FAULTS_MAX).unwrap_or(0).min(10);
            let rest = (REST * 2_i32.pow(doublings)).min(REST_MAX);
            tracing::error!(
                provider,
                faults,
                reason,
                rest_seconds = rest.num_seconds(),
                "the provider failed several times in a row and is left alone; mails are kept"
            );
            let why = format!("{faults} failures in a row, the last one: {reason}");
            db::provider_pause(&mut conn, provider, now + rest, &why, now).await?;
        }
        Ok::<(), sqlx::Error>(())
    };
    if let Err(error) = noted.await {
        tracing::warn!(provider, %error, "the provider's health could not be noted");
    }
}

/// Why an answer speaks against the provider itself. A limit or a refusal shows that it works.
fn fault(outcome: &BatchOutcome) -> Option<&str> {
    match outcome {
        BatchOutcome::All(
            SendOutcome::Unknown { reason }
            | SendOutcome::Retry {
                reason,
                pause: false,
                ..
            },
        ) => Some(reason),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use hogsend_plugin_api::Rate;

    use super::slot_us;

    #[test]
    fn requests_are_spread_over_the_window_with_some_to_spare() {
        let rate = |requests, per_ms| Rate {
            requests,
            per_ms,
            remaining: None,
            reset_ms: None,
        };
        // 4.7 requests a second of 5: with a hundred mails each, 470 mails a second.
        assert_eq!(slot_us(rate(5, 1_000)), 212_500);
        assert_eq!(slot_us(rate(0, 1_000)), 1_062_500);
    }
}
