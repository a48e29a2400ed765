//! Simulates a year of the ten stock journeys for a thousand people and checks the invariants.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, TimeDelta, Timelike as _, Utc};
use hogsend_plugin_api::Settings;
use hogsend_plugin_api::call::method;
use hogsend_plugin_api::journey::{Catalogue, days};
use hogsend_plugin_kit::sim::{Entry as Line, Policy, Sim, Status, Tz, What};
use hogsend_plugin_kit::{self as kit, beginning};
use hogsend_plugin_lifecycle::Lifecycle;
use serde_json::{Value, json};

const PEOPLE: u64 = 1_000;
const CAP: (u32, std::time::Duration) = (3, days(7));
const ZONES: [Tz; 4] = [
    Tz::UTC,
    Tz::Europe__Berlin,
    Tz::America__Los_Angeles,
    Tz::Asia__Kolkata,
];

/// Random numbers, the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

fn zone_of(person: &str) -> Tz {
    ZONES[person.parse::<usize>().unwrap() % ZONES.len()]
}

/// What people do, and how often.
fn deed(dice: &mut Dice) -> (&'static str, Value) {
    let id = dice.roll(1_000);
    match dice.roll(15) {
        0 => (
            "trial.started",
            json!({ "trial_days": 1 + dice.roll(30), "offer": "20" }),
        ),
        1 => ("subscription.created", json!({ "plan": "pro" })),
        2 => ("checkout.started", json!({ "checkout_id": id })),
        3 => ("order.completed", json!({ "checkout_id": id })),
        4 => ("payment.failed", json!({ "amount": "12 €" })),
        5 => ("payment.succeeded", json!({})),
        6 => ("user.dormant", json!({})),
        7 => (
            "milestone.reached",
            json!({ "milestone": format!("n{id}") }),
        ),
        8 => ("feedback.due", json!({})),
        9 => ("feedback.submitted", json!({ "score": dice.roll(11) })),
        10 => ("referral.eligible", json!({})),
        11 => ("referral.joined", json!({})),
        12 => (
            "test.signup",
            json!({ "plan": if id.is_multiple_of(2) { "pro" } else { "free" } }),
        ),
        13 => ("usage.milestone", json!({})),
        _ => ("feature.used", json!({})),
    }
}

/// The invariants.
struct Rules {
    /// Category and minimum interval of each journey.
    journeys: BTreeMap<String, (String, TimeDelta)>,
    sent: RefCell<HashMap<String, Vec<DateTime<Utc>>>>,
    last: RefCell<HashMap<(String, String), DateTime<Utc>>>,
    ended: RefCell<HashMap<usize, Status>>,
    templates: RefCell<BTreeMap<String, u64>>,
}

impl Rules {
    fn check(&self, line: &Line, sim: &Sim<'_>) {
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
                let over = self.ended.borrow().contains_key(&line.run.unwrap());
                assert!(!over, "came back: {line}");
            }
            What::Sent { template, .. } => {
                *self
                    .templates
                    .borrow_mut()
                    .entry(template.clone())
                    .or_default() += 1;
                self.check_mail(line, journey, sim);
            }
            _ => {}
        }
    }

    fn check_mail(&self, line: &Line, journey: &str, sim: &Sim<'_>) {
        let exited = self.ended.borrow().get(&line.run.unwrap()) == Some(&Status::Exited);
        assert!(!exited, "a mail after the exit: {line}");
        let (category, gap) = &self.journeys[journey];
        assert!(
            sim.is_subscribed(&line.person, category),
            "unwanted: {line}"
        );
        let clock = line.at.with_timezone(&zone_of(&line.person));
        assert!((8..21).contains(&clock.hour()), "at {clock}: {line}");
        let key = (line.person.to_string(), journey.to_owned());
        if let Some(last) = self.last.borrow_mut().insert(key, line.at) {
            assert!(line.at - last >= *gap, "too soon: {line}");
        }
        let mut sent = self.sent.borrow_mut();
        let sent = sent.entry(line.person.to_string()).or_default();
        sent.push(line.at);
        let since = TimeDelta::from_std(CAP.1).unwrap();
        let within = sent.iter().rev().take_while(|at| line.at - **at <= since);
        assert!(within.count() <= CAP.0 as usize, "above the cap: {line}");
    }
}

#[test]
fn a_thousand_people_live_a_year_with_the_stock_journeys() {
    let plugin = kit::start::<Lifecycle>(&Settings::default()).unwrap();
    let catalogue: Catalogue = kit::ask(plugin.as_ref(), method::JOURNEYS_CATALOGUE, &()).unwrap();
    assert_eq!(catalogue.journeys.len(), 10);
    let journeys = catalogue.journeys.iter().map(|journey| {
        let gap = TimeDelta::milliseconds(journey.suppress_ms as i64);
        (journey.id.clone(), (journey.category.clone(), gap))
    });
    let rules = Rules {
        journeys: journeys.collect(),
        sent: RefCell::default(),
        last: RefCell::default(),
        ended: RefCell::default(),
        templates: RefCell::default(),
    };
    let mut sim = Sim::of(plugin)
        .policy(Policy {
            frequency_cap: Some(CAP),
            send_window: Some(((8, 0), (21, 0))),
            ..Policy::default()
        })
        .without_timeline()
        .on_step(|line, sim| rules.check(line, sim));

    let mut dice = Dice(11);
    let mut plan = Vec::new();
    for person in 0..PEOPLE {
        let born = dice.roll(150 * 24);
        plan.push((born, person, true));
        for _ in 0..10 + dice.roll(20) {
            plan.push((born + 1 + dice.roll(200 * 24), person, false));
        }
    }
    plan.sort_unstable();
    for (hour, person, born) in plan {
        sim.advance_to(beginning() + TimeDelta::hours(hour as i64));
        let id = person.to_string();
        sim.person(&id);
        if born {
            sim.set_contact(json!({ "timezone": zone_of(&id).name() }))
                .event("user.created");
        } else if dice.roll(60) == 0 {
            sim.unsubscribe(["all", "journey", "billing", "milestones"][dice.roll(4) as usize]);
        } else {
            let (event, properties) = deed(&mut dice);
            sim.event_with(event, properties);
        }
    }
    sim.advance_to(beginning() + TimeDelta::days(365 + 200));

    let open = sim
        .runs()
        .iter()
        .filter(|run| matches!(run.status, Status::Active | Status::Waiting));
    assert_eq!(open.count(), 0, "every run comes to its end");
    let mut entered: BTreeMap<String, u64> = BTreeMap::new();
    for run in sim.runs() {
        *entered.entry(run.journey.to_string()).or_default() += 1;
    }
    drop(sim);
    assert_eq!(entered.len(), 10, "{entered:?}");
    // Every template except the two that no journey sends.
    let templates = rules.templates.borrow();
    assert!(templates.len() >= 13, "{templates:?}");
}
