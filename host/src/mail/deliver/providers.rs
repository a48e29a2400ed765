//! Which provider takes a mail, and what its answers say about the provider: circuit breaker, limits
//! and blocks.

use std::collections::HashMap;
use std::sync::LazyLock;

use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, Mac};
use hogsend_plugin_api::{BlockScope, Rate};
use secrecy::ExposeSecret;
use sha2::Sha256;

use crate::backoff;
use crate::context::Context;
use crate::db::{self, Hold, HoldKind, PROBE_EVERY, Topic, Tx};
use crate::mail::fate::{Answer, Verdict};
use crate::plugins::DeliveryRef;
use crate::purpose::{ByPurpose, Purpose};
use crate::telemetry::Outages;

/// Failures in a row that open the circuit breaker.
const FAULTS_MAX: i32 = 5;
/// Mails wait for a limit up to this long; for a longer one they go to the next provider.
const BUSY_MAX: TimeDelta = TimeDelta::minutes(1);
/// Requests leave 1/16 further apart than the rate allows, because they do not leave at exactly the
/// reserved moment.
const SPARE: i64 = 16;
/// How long a mail waits if no provider is active.
const NOBODY: TimeDelta = TimeDelta::minutes(5);

/// The active providers in the operator's order, and the holds on them: which mail they do not take.
pub(super) struct Providers {
    all: Vec<DeliveryRef>,
    routes: ByPurpose<Vec<String>>,
    holds: HashMap<String, Vec<Hold>>,
    now: DateTime<Utc>,
}

/// Where a mail goes.
pub(super) enum Way {
    /// To this provider. If it probes holds, it goes alone, and all other mails wait for its result.
    Open(DeliveryRef, Vec<Hold>),
    Shut(Shut),
}

/// Mail that a provider is waiting for, to find out whether it takes mail again.
pub(super) struct Awaited<'a> {
    /// None stands for any sender.
    pub sender: Option<&'a str>,
    /// None if the provider takes mail of both.
    pub purpose: Option<Purpose>,
}

/// No provider takes it.
#[derive(Clone, Debug)]
pub(super) struct Shut {
    pub until: DateTime<Utc>,
    pub reason: String,
    /// It ends by itself at `until`; otherwise one mail probes the provider then.
    pub limit: bool,
}

impl Shut {
    /// Mails wait for its end instead of going to another provider.
    fn is_short(&self, now: DateTime<Utc>) -> bool {
        self.limit && self.until - now <= BUSY_MAX
    }
}

impl Providers {
    /// Reads the holds. Those that began with other settings are removed.
    pub async fn look(cx: &Context) -> db::Result<Self> {
        let now = cx.clock.now();
        let all = cx.plugins().deliveries();
        let work = async |mut tx: Tx| {
            let mut holds: HashMap<String, Vec<Hold>> = HashMap::new();
            for hold in db::provider_holds(&mut tx, now).await? {
                holds.entry(hold.provider.clone()).or_default().push(hold);
            }
            let mut changed = Vec::new();
            let mut cured = 0;
            for provider in &all {
                let Some(own) = holds.get_mut(provider.id()) else {
                    continue;
                };
                let print = print(cx, provider);
                if own.iter().any(|hold| hold.print != print) {
                    own.retain(|hold| hold.print == print);
                    cured += db::provider_cured(&mut tx, provider.id(), &print).await?;
                    changed.push(provider.id().to_owned());
                }
            }
            if cured > 0 {
                db::sends_release(&mut tx, now).await?;
                db::stir(Topic::Mails);
            }
            db::Result::Ok((tx, (holds, changed)))
        };
        let (holds, changed) = cx.db.transact(work).await?;
        for provider in changed {
            tracing::info!(
                provider,
                "the provider's settings changed: it gets mail again"
            );
        }
        Ok(Self {
            all,
            routes: cx.plugins().routes().clone(),
            holds,
            now,
        })
    }

    /// The mails that may probe a provider now.
    pub fn awaited(&self) -> Vec<Awaited<'_>> {
        let due = |hold: &&Hold| hold.kind != HoldKind::Limit && hold.until <= self.now;
        let active = self.all.iter().filter_map(|one| self.holds.get(one.id()));
        active
            .flatten()
            .filter(due)
            .map(|hold| Awaited {
                sender: Some(hold.sender.as_str()).filter(|sender| !sender.is_empty()),
                purpose: match self.routes.purposes(&hold.provider).as_slice() {
                    [only] => Some(*only),
                    _ => None,
                },
            })
            .collect()
    }

    /// Whether a provider of such mail refuses this sender in particular.
    pub fn refuses(&self, purpose: Purpose, sender: &str) -> bool {
        let own = self.routes.of(purpose).iter();
        let mut holds = own.filter_map(|id| self.holds.get(id)).flatten();
        holds.any(|hold| hold.kind == HoldKind::Block && hold.sender == sender)
    }

    /// The first provider of such mail that takes it from this sender. The mail waits for one that is
    /// merely busy and passes over one that is down.
    pub async fn choose(
        &mut self,
        cx: &Context,
        purpose: Purpose,
        sender: &str,
    ) -> db::Result<Way> {
        let mut shut: Vec<Shut> = Vec::new();
        let own = self.routes.of(purpose).iter();
        let own: Vec<DeliveryRef> = own.filter_map(|id| self.find(id)).collect();
        for provider in own {
            match self.admit(cx, &provider, sender).await? {
                Ok(probes) => return Ok(Way::Open(provider, probes)),
                Err(one) => {
                    let short = one.is_short(self.now);
                    shut.push(one);
                    if short {
                        break;
                    }
                }
            }
        }
        // A limit ends at a known time; a provider that is down is probed by other mails meanwhile.
        let soonest = shut
            .into_iter()
            .min_by_key(|one| (!one.limit, one.until))
            .unwrap_or_else(|| Shut {
                until: self.now + NOBODY,
                reason: "no delivery plugin is active".into(),
                limit: true,
            });
        Ok(Way::Shut(soonest))
    }

    /// Whether this provider takes mail of this sender: the holds that the mail probes, or until when
    /// the provider takes none.
    pub async fn admit(
        &mut self,
        cx: &Context,
        provider: &DeliveryRef,
        sender: &str,
    ) -> db::Result<Result<Vec<Hold>, Shut>> {
        if let Some(shut) = self.shut(provider.id(), sender) {
            return Ok(Err(shut));
        }
        let now = self.now;
        let Some(holds) = self.holds.get_mut(provider.id()) else {
            return Ok(Ok(Vec::new()));
        };
        let mut probes = Vec::new();
        let mut lost = false;
        for hold in holds.iter_mut().filter(|hold| concerns(hold, sender)) {
            if hold.kind == HoldKind::Limit {
                continue;
            }
            let mut conn = cx.db.conn().await?;
            lost |= !db::provider_probe(&mut conn, hold, now).await?;
            hold.until = now + PROBE_EVERY;
            probes.push(hold.clone());
        }
        if lost {
            let shut = self.shut(provider.id(), sender);
            return Ok(shut.map_or_else(|| Ok(probes), Err));
        }
        Ok(Ok(probes))
    }

    /// Until when the provider takes no mail of this sender; None if it takes it.
    fn shut(&self, id: &str, sender: &str) -> Option<Shut> {
        let holds = self.holds.get(id)?;
        let last = holds
            .iter()
            .filter(|hold| concerns(hold, sender) && hold.until > self.now)
            .max_by_key(|hold| hold.until)?;
        Some(Shut {
            until: last.until,
            reason: format!("the provider takes no mail for now: {}", last.reason),
            limit: last.kind == HoldKind::Limit,
        })
    }

    /// Whether it failed several times in a row, or someone has to act before it takes mail.
    pub fn is_down(&self, id: &str, sender: &str) -> bool {
        self.shut(id, sender)
            .is_some_and(|shut| !shut.is_short(self.now))
    }

    /// Whether mails of these purposes have the same providers, and may share a request.
    pub fn alike(&self, one: Purpose, other: Purpose) -> bool {
        self.routes.of(one) == self.routes.of(other)
    }

    /// An active provider, whichever mail it takes.
    pub fn find(&self, id: &str) -> Option<DeliveryRef> {
        self.all.iter().find(|one| one.id() == id).cloned()
    }
}

fn concerns(hold: &Hold, sender: &str) -> bool {
    hold.sender.is_empty() || hold.sender == sender
}

/// The bare address of `Name <address>` in lower case: the key of a hold on a sender.
pub(super) fn sender_of(from: &str) -> String {
    let bare = match from.rsplit_once('<') {
        Some((_, rest)) => rest.trim_end_matches('>'),
        None => from,
    };
    bare.trim().to_lowercase()
}

/// A keyed fingerprint of the provider's version and settings: it reveals only that they changed.
pub(super) fn print(cx: &Context, provider: &DeliveryRef) -> String {
    let key = cx.config.secret.expose_secret().as_bytes();
    let mut hash = Hmac::<Sha256>::new_from_slice(key).expect("any length");
    hash.update(b"provider settings\0");
    hash.update(provider.version().as_bytes());
    for (name, value) in provider.settings().iter() {
        hash.update(format!("\0{name}={value}").as_bytes());
    }
    hex::encode(&hash.finalize().into_bytes()[..16])
}

/// Microseconds between two requests that keep to this rate.
pub(super) fn slot_us(rate: Rate) -> i64 {
    let window = i64::try_from(rate.per_ms).unwrap_or(i64::MAX / 2_000) * 1_000;
    let slot = window / i64::from(rate.requests.max(1));
    slot + slot / SPARE
}

/// Stores the rate that an answer reported.
pub(super) async fn note_rate(cx: &Context, provider: &str, rate: Rate) {
    let noted = match cx.db.conn().await {
        Ok(mut conn) => db::provider_rate(&mut conn, provider, slot_us(rate), cx.clock.now()).await,
        Err(error) => Err(error),
    };
    if let Err(error) = noted {
        unrecorded(provider, &error, "the provider's rate could not be stored");
    }
}

/// A request that ended: its provider, its sender and when it began.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub provider: &'a DeliveryRef,
    pub sender: &'a str,
    /// The sender came with this one mail.
    pub given: bool,
    pub began: DateTime<Utc>,
    /// The first attempt at a single mail.
    pub fresh: bool,
}

/// Facts about providers that could not be stored.
static UNSTORED: LazyLock<Outages> = LazyLock::new(Outages::default);

fn unrecorded(provider: &str, error: &sqlx::Error, what: &'static str) {
    if let Some(failing) = UNSTORED.failed(provider) {
        let failures = failing.failures;
        tracing::warn!(provider, %error, failures, "{what}");
    }
}

/// Records what an answer says about the provider, for all workers: circuit breaker, limits and
/// blocks. Returns whether it says anything.
pub(super) async fn note(cx: &Context, asked: Asked<'_>, answer: &Answer) -> bool {
    let verdict = Verdict::of(answer, asked.fresh);
    if verdict == Verdict::Silent {
        return false;
    }
    if let Err(error) = note_verdict(cx, asked, &verdict).await {
        let provider = asked.provider.id();
        unrecorded(
            provider,
            &error,
            "what the answer says about the provider could not be recorded",
        );
    }
    true
}

async fn note_verdict(cx: &Context, asked: Asked<'_>, verdict: &Verdict<'_>) -> db::Result<()> {
    let now = cx.clock.now();
    let work = |tx| note_in(cx, tx, asked, verdict, now);
    let noted = cx.db.transact(work).await?;
    let provider = asked.provider.id();
    match verdict {
        Verdict::Faulty(reason) if noted.held => tracing::error!(
            provider,
            reason,
            "the provider failed several times in a row; mails wait, and one probes it every 30 seconds"
        ),
        Verdict::Blocked(BlockScope::Provider, reason) if noted.held => tracing::error!(
            provider,
            reason,
            "the provider refuses all mail until someone acts; mails wait, and one probes it every 30 seconds"
        ),
        Verdict::Blocked(BlockScope::Sender, reason) if noted.held => tracing::error!(
            provider,
            reason,
            "the provider refuses a sender until someone acts; its mails wait, and one probes it every 30 seconds"
        ),
        _ => {}
    }
    if let Some(mails) = noted.released {
        tracing::info!(provider, mails, "the provider takes mail again");
    }
    Ok(())
}

/// What a verdict changed.
struct Noted {
    /// A hold began that an operator should know of.
    held: bool,
    /// How many kept mails are due again, if a hold ended.
    released: Option<u64>,
}

async fn note_in(
    cx: &Context,
    mut tx: Tx,
    asked: Asked<'_>,
    verdict: &Verdict<'_>,
    now: DateTime<Utc>,
) -> db::Result<(Tx, Noted)> {
    let id = asked.provider.id();
    let hold = |kind, sender: &str, until, reason: String| Hold {
        provider: id.to_owned(),
        sender: sender.to_owned(),
        kind,
        reason,
        since: now,
        until,
        print: print(cx, asked.provider),
    };
    let soon = now + PROBE_EVERY;
    let mut freed = 0;
    let mut held = false;
    match verdict {
        Verdict::Silent => {}
        Verdict::Faulty(reason) => {
            let faults = db::provider_fault(&mut tx, id, asked.began, now).await?;
            if let Some(faults) = faults.filter(|faults| *faults >= FAULTS_MAX) {
                let why = format!("{faults} failures in a row, the last one: {reason}");
                let rest = hold(HoldKind::Rest, "", soon, why);
                held = db::provider_hold(&mut tx, &rest, now).await?;
            }
        }
        Verdict::Sound { sender } => {
            let sender = sender.then_some(asked.sender);
            freed = sound(&mut tx, id, sender, &[HoldKind::Rest, HoldKind::Block], now).await?;
        }
        Verdict::Limited(reason, after_ms) => {
            freed = sound(&mut tx, id, None, &[HoldKind::Rest], now).await?;
            let until = now + backoff::wait(1, *after_ms);
            let limit = hold(HoldKind::Limit, "", until, (*reason).to_owned());
            db::provider_hold(&mut tx, &limit, now).await?;
        }
        Verdict::Blocked(BlockScope::Sender, reason) => {
            let works = [HoldKind::Rest, HoldKind::Block];
            freed = sound(&mut tx, id, None, &works, now).await?;
            if !asked.given {
                let block = hold(HoldKind::Block, asked.sender, soon, (*reason).to_owned());
                held = db::provider_hold(&mut tx, &block, now).await?;
            }
        }
        Verdict::Blocked(_, reason) => {
            freed = sound(&mut tx, id, None, &[HoldKind::Rest], now).await?;
            let block = hold(HoldKind::Block, "", soon, (*reason).to_owned());
            held = db::provider_hold(&mut tx, &block, now).await?;
        }
    }
    let mut released = None;
    if freed > 0 {
        released = Some(db::sends_release(&mut tx, now).await?);
        db::stir(Topic::Mails);
    }
    Ok((tx, Noted { held, released }))
}

async fn sound(
    conn: &mut db::Conn,
    provider: &str,
    sender: Option<&str>,
    kinds: &[HoldKind],
    now: DateTime<Utc>,
) -> db::Result<u64> {
    db::provider_sound(conn, provider, now).await?;
    db::provider_release(conn, provider, sender, kinds).await
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hogsend_plugin_api::Rate;

    use super::{sender_of, slot_us};

    #[test]
    fn requests_are_spread_over_the_window_with_some_to_spare() {
        let rate = |requests, per_ms| Rate::new(requests, Duration::from_millis(per_ms));
        // 4.7 requests a second of 5: with a hundred mails each, 470 mails a second.
        assert_eq!(slot_us(rate(5, 1_000)), 212_500);
        assert_eq!(slot_us(rate(0, 1_000)), 1_062_500);
    }

    #[test]
    fn a_sender_is_known_by_its_address() {
        for from in [
            "hello@acme.test",
            "Acme <Hello@acme.test>",
            "\"A <b>\" <hello@ACME.test>",
        ] {
            assert_eq!(sender_of(from), "hello@acme.test");
        }
    }
}
