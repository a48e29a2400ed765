//! Simulates a year of ten journeys for a thousand people and checks the invariants.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Timelike, Utc};
use hogsend_plugin_api::journey::{
    self, Condition, Ctx, Entry, Journey, User, Waited, Weekday, days, hours,
};
use hogsend_plugin_api::{Journeys, Manifest, Plugin, Settings, Template, export_plugin};
use hogsend_plugin_kit::sim::{Entry as Line, Policy, Sim, Status, Tz, What};
use hogsend_plugin_kit::{beginning, start};
use serde_json::json;

struct Year;

impl Plugin for Year {
    fn manifest() -> Manifest {
        Manifest::new("year", "1.0.0")
    }

    fn new(_: &Settings) -> Result<Self, String> {
        Ok(Self)
    }
}

export_plugin!(Year: journeys);

impl Journeys for Year {
    fn journeys(&self) -> Vec<Journey> {
        vec![
            Journey::new("welcome", welcome)
                .trigger("user.created")
                .entry(Entry::Once),
            Journey::new("activation", activation)
                .trigger("journey.completed")
                .trigger_where(Condition::eq("journeyId", "welcome"))
                .exit_on("feature.used"),
            Journey::new("trial", trial)
                .trigger("trial.started")
                .exit_on("subscription.created"),
            Journey::new("checkout", checkout)
                .trigger("checkout.started")
                .entry(Entry::once_per(days(7)))
                .suppress(days(2))
                .exit_on("subscription.created"),
            Journey::new("churn", churn)
                .trigger("payment.failed")
                .entry(Entry::once_per(days(7)))
                .category("billing")
                .exit_on("payment.succeeded"),
            Journey::new("dormancy", dormancy)
                .trigger("visit")
                .exit_on("journey.exited"),
            Journey::new("milestone", milestone)
                .trigger("feature.used")
                .suppress(days(3)),
            Journey::new("survey", survey)
                .trigger("subscription.created")
                .entry(Entry::Once)
                .category("research"),
            Journey::new("digest", digest).trigger("visit"),
            Journey::new("receipt", receipt).trigger("subscription.created"),
        ]
    }

    fn templates(&self) -> Vec<Template> {
        let keys = [
            "welcome",
            "nudge",
            "expiring",
            "cart",
            "failed",
            "missed",
            "well-done",
            "survey",
            "weekly",
            "receipt",
        ];
        let template = |key: &str| match key {
            "receipt" => Template::new(key, "", "").category("transactional"),
            _ => Template::new(key, "", ""),
        };
        keys.map(template).into()
    }
}

async fn welcome(_: User, ctx: Ctx) -> journey::Result {
    ctx.send("welcome").await?;
    ctx.sleep(days(2)).await;
    Ok(())
}

async fn activation(_: User, ctx: Ctx) -> journey::Result {
    for _ in 0..3 {
        if !ctx
            .history()
            .has_event("visit")
            .within(days(2))
            .await?
            .found
        {
            ctx.send("nudge").await?;
        }
        ctx.sleep(days(3)).await;
    }
    Ok(())
}

async fn trial(_: User, ctx: Ctx) -> journey::Result {
    let warn = ctx.when().in_(days(10)).at(10, 30).await?;
    ctx.sleep_until(warn).await;
    ctx.send("expiring").await?;
    Ok(())
}

async fn checkout(_: User, ctx: Ctx) -> journey::Result {
    ctx.sleep(hours(1)).await;
    ctx.send("cart").await?;
    ctx.sleep(days(1)).await;
    ctx.send("cart").await?;
    Ok(())
}

async fn churn(_: User, ctx: Ctx) -> journey::Result {
    for _ in 0..3 {
        ctx.send("failed").await?;
        ctx.sleep(days(1)).await;
    }
    Ok(())
}

async fn dormancy(_: User, ctx: Ctx) -> journey::Result {
    while let Waited::Event(_) = ctx.wait_for("visit").timeout(days(30)).await {
        if ctx.history().journey("dormancy").await?.entered > 3 {
            return ctx.exit("well known");
        }
    }
    ctx.send("missed").await?;
    Ok(())
}

async fn milestone(_: User, ctx: Ctx) -> journey::Result {
    let count = ctx.history().has_event("feature.used").await?.count;
    if count.is_multiple_of(5) && ctx.throttle(2, days(30)).await? {
        ctx.send("well-done").prop("count", count).await?;
        ctx.trigger("milestone.reached")
            .prop("count", count)
            .await?;
    }
    Ok(())
}

async fn survey(_: User, ctx: Ctx) -> journey::Result {
    let monday = ctx.when().next(Weekday::Mon).at(9, 0).await?;
    ctx.sleep_until(monday).await;
    let arm = ctx.variant("subject", &["short", "long"]).await?;
    ctx.send("survey").prop("arm", arm).await?;
    Ok(())
}

async fn digest(_: User, ctx: Ctx) -> journey::Result {
    let all = ctx.digest(days(7)).await?;
    if all.count > 2 {
        ctx.send("weekly").prop("count", all.count).await?;
    }
    Ok(())
}

async fn receipt(_: User, ctx: Ctx) -> journey::Result {
    ctx.send("receipt").await?;
    Ok(())
}

/// Random numbers, the same for a seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

const CAP: (u32, std::time::Duration) = (2, days(1));
const ZONES: [Tz; 4] = [
    Tz::UTC,
    Tz::Europe__Berlin,
    Tz::America__Los_Angeles,
    Tz::Asia__Kolkata,
];

fn zone_of(person: &str) -> Tz {
    ZONES[person.parse::<usize>().unwrap() % ZONES.len()]
}

/// The invariants.
#[derive(Default)]
struct Rules {
    lines: Cell<u64>,
    sent: RefCell<HashMap<String, Vec<DateTime<Utc>>>>,
    last: RefCell<HashMap<(String, String), DateTime<Utc>>>,
    ended: RefCell<HashMap<usize, Status>>,
}

impl Rules {
    fn check(&self, line: &Line, sim: &Sim<'_>) {
        self.lines.set(self.lines.get() + 1);
        let journey = line.journey.as_deref().unwrap_or_default();
        match &line.what {
            What::Entered => {
                let open = sim.open_runs(&line.person);
                let same = open.filter(|run| &*run.journey == journey).count();
                assert_eq!(same, 1, "two runs under way: {line}");
            }
            What::Ended { status, .. } => {
                let before = self.ended.borrow_mut().insert(line.run.unwrap(), *status);
                assert_eq!(before, None, "ended twice: {line}");
                let sound = !matches!(status, Status::Failed | Status::Stuck);
                assert!(sound, "{line}");
            }
            What::Step { .. } | What::Waits { .. } | What::Checkpoint { .. } => {
                let ended = self.ended.borrow();
                assert!(!ended.contains_key(&line.run.unwrap()), "came back: {line}");
            }
            What::Sent { template, .. } => self.check_mail(line, journey, template, sim),
            _ => {}
        }
    }

    fn check_mail(&self, line: &Line, journey: &str, template: &str, sim: &Sim<'_>) {
        let exited = self.ended.borrow().get(&line.run.unwrap()) == Some(&Status::Exited);
        assert!(!exited, "a mail after the exit: {line}");
        if template == "receipt" {
            return;
        }
        let category = match journey {
            "churn" => "billing",
            "survey" => "research",
            _ => "journey",
        };
        assert!(
            sim.is_subscribed(&line.person, category),
            "unwanted: {line}"
        );
        let clock = line.at.with_timezone(&zone_of(&line.person));
        assert!((9..20).contains(&clock.hour()), "at {clock}: {line}");
        let gap = match journey {
            "checkout" => 2,
            "milestone" => 3,
            _ => 0,
        };
        let key = (line.person.to_string(), journey.to_owned());
        if let Some(last) = self.last.borrow_mut().insert(key, line.at) {
            assert!(line.at - last >= TimeDelta::days(gap), "too soon: {line}");
        }
        let mut sent = self.sent.borrow_mut();
        let sent = sent.entry(line.person.to_string()).or_default();
        sent.push(line.at);
        let day = sent.iter().rev();
        let within = day.take_while(|at| line.at - **at <= TimeDelta::days(1));
        assert!(within.count() <= CAP.0 as usize, "above the cap: {line}");
    }
}

/// Simulates a year, and returns the number of timeline entries and mails.
fn live<'a>(sim: &mut Sim<'a>, people: u64, seed: u64) {
    let mut dice = Dice(seed | 1);
    let mut plan: Vec<(u64, u64, u64)> = Vec::new();
    for person in 0..people {
        let born = dice.roll(200 * 24);
        plan.push((born, person, 0));
        for _ in 0..20 + dice.roll(30) {
            plan.push((born + 1 + dice.roll(150 * 24), person, 1 + dice.roll(16)));
        }
    }
    plan.sort_unstable();
    for (hour, person, kind) in plan {
        sim.advance_to(beginning() + TimeDelta::hours(hour as i64));
        let id = person.to_string();
        sim.person(&id);
        match kind {
            0 => sim
                .set_contact(json!({ "timezone": zone_of(&id).name() }))
                .event("user.created"),
            1 => sim.event("trial.started"),
            2 => sim.event("checkout.started"),
            3 => sim.event("payment.failed"),
            4 => sim.event("payment.succeeded"),
            5 => sim.event_with("subscription.created", json!({ "plan": "pro" })),
            6 if dice.roll(8) == 0 => sim.unsubscribe("all"),
            6 => sim.unsubscribe(["journey", "billing", "research"][dice.roll(3) as usize]),
            7 => sim.resubscribe("journey"),
            8..=11 => sim.event("feature.used"),
            _ => sim.event("visit"),
        };
    }
    sim.advance_to(beginning() + TimeDelta::days(365));
}

fn world<'a>(seed: u64) -> Sim<'a> {
    Sim::of(start::<Year>(&Settings::default()).unwrap())
        .seed(seed)
        .policy(Policy {
            frequency_cap: Some(CAP),
            send_window: Some(((9, 0), (20, 0))),
            ..Policy::default()
        })
}

#[test]
fn a_thousand_people_live_a_year() {
    let rules = Rules::default();
    let mut sim = world(7)
        .without_timeline()
        .on_step(|line, sim| rules.check(line, sim));
    live(&mut sim, 1_000, 7);
    let (runs, sent) = (sim.runs().len(), sim.sends().len());
    let with = |reason: &str| {
        let skipped = sim.mails().iter().filter(|mail| {
            mail.outcome == hogsend_plugin_kit::sim::Outcome::Skipped(reason.into())
        });
        skipped.count()
    };
    // The simulation exercised each of the rules.
    assert!(runs > 10_000 && sent > 5_000, "{runs} runs, {sent} mails");
    for reason in [
        "frequency_cap",
        "journey_suppressed",
        "user_unsubscribed",
        "journey_exited",
    ] {
        assert!(with(reason) > 0, "no mail was skipped for {reason}");
    }
    drop(sim);
    assert!(rules.lines.get() > 100_000);
}

#[test]
fn the_same_year_is_the_same_byte_for_byte() {
    let trace = |seed| {
        let mut sim = world(seed);
        live(&mut sim, 20, 3);
        sim.trace()
    };
    let first = trace(1);
    assert!(first.lines().count() > 2_000);
    assert!(first == trace(1), "two simulations of one seed differ");
    assert!(first != trace(2), "the seed changes nothing");
}
