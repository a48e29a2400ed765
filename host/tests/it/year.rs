//! People who live with the stock journeys: the same mails with each engine. `plugins/plugin-lifecycle/tests/year.rs`
//! checks which mails these are.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use axum::http::Method;
use serde_json::{Value, json};

use crate::support::admin::KEY;
use crate::support::rig::Rig;

const DAY: Duration = Duration::from_secs(24 * 3_600);
const ZONES: [&str; 4] = [
    "UTC",
    "Europe/Berlin",
    "America/Los_Angeles",
    "Asia/Kolkata",
];
const SETTINGS: [(&str, &str); 2] = [
    ("EMAIL_FREQUENCY_CAP", "3/7d"),
    ("EMAIL_SEND_WINDOW", "08:00-21:00"),
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

/// What people do.
fn deed(dice: &mut Dice) -> (&'static str, Value) {
    let id = dice.roll(1_000);
    match dice.roll(13) {
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
        11 => ("usage.milestone", json!({})),
        _ => ("feature.used", json!({})),
    }
}

/// The events of each day. Nobody has two on one day: their order would decide.
fn plan(people: u64, days: u64) -> BTreeMap<u64, Vec<Value>> {
    let mut dice = Dice(11);
    let mut plan: BTreeMap<u64, BTreeMap<u64, Value>> = BTreeMap::new();
    for person in 0..people {
        let born = dice.roll(days * 2 / 5);
        let zone = ZONES[usize::try_from(person).unwrap() % ZONES.len()];
        let first = json!({
            "name": "user.created", "userId": format!("p{person}"),
            "email": format!("p{person}@example.com"), "contactProperties": { "timezone": zone },
        });
        plan.entry(born).or_default().insert(person, first);
        for _ in 0..dice.roll(days / 10) + days / 30 {
            let day = born + 1 + dice.roll(days * 11 / 20);
            let (name, properties) = deed(&mut dice);
            let event = json!({
                "name": name, "userId": format!("p{person}"), "eventProperties": properties,
            });
            plan.entry(day).or_default().entry(person).or_insert(event);
        }
    }
    let days = plan.into_iter();
    days.map(|(day, events)| (day, events.into_values().collect()))
        .collect()
}

/// Lets people live, and returns their mails and how their runs ended.
async fn live(rig: Rig, people: u64, days: u64) -> (Vec<String>, Vec<String>) {
    let plan = plan(people, days);
    // Runs go on for at most as long again.
    for day in 0..days * 2 {
        for events in plan.get(&day).map_or(&[][..], Vec::as_slice).chunks(500) {
            let body = json!({ "events": events });
            let call = rig
                .server
                .call(Method::POST, "/v1/events/batch", KEY, Some(&body));
            let answer = call.await;
            assert_eq!(answer.status, 202, "{}", answer.text());
        }
        rig.settle().await;
        rig.advance(DAY).await;
    }
    // Of one person's mails at the same instant, the frequency cap may skip either.
    let mails = "SELECT string_agg(line, E'\\n' ORDER BY line) FROM (
                     SELECT format('%s %s %s %s', created_at, to_email,
                                   string_agg(template_key, ',' ORDER BY template_key),
                                   string_agg(status, ',' ORDER BY status)) AS line
                     FROM email_sends GROUP BY created_at, to_email) AS lines";
    let mails = rig.server.text(mails).await;
    let runs = "SELECT string_agg(format('%s %s %s %s', c.external_id, s.journey_id, s.status, s.current_node_id),
                    E'\\n' ORDER BY c.external_id, s.journey_id, s.created_at, s.status, s.current_node_id)
                FROM journey_states s JOIN contacts c ON c.id = s.contact_id";
    let runs = rig.server.text(runs).await;
    let open = "SELECT count(*) FROM journey_states WHERE status IN ('active', 'waiting')";
    assert_eq!(
        rig.server.count(open).await,
        0,
        "every run comes to its end"
    );
    rig.stop().await;
    let lines = |text: String| text.lines().map(str::to_owned).collect();
    (lines(mails), lines(runs))
}

async fn lives_are_the_same(people: u64, days: u64) {
    let embedded = live(Rig::embedded_with(&SETTINGS).await, people, days).await;
    let hatchet = live(Rig::hatchet_with(&SETTINGS).await, people, days).await;
    // Lines with two mails name two templates and two states.
    let mails = embedded
        .0
        .iter()
        .map(|line| line.matches(',').count() / 2 + 1);
    let (mails, runs) = (mails.sum::<usize>(), embedded.1.len());
    println!("{people} people, {days} days: {runs} runs, {mails} mails");
    assert!(mails as u64 > 2 * people, "{mails}");
    // Whole lists are no help.
    let differ = |one: &[String], other: &[String]| -> Vec<String> {
        let other: HashSet<&String> = other.iter().collect();
        let missing = one.iter().filter(|line| !other.contains(line));
        missing.take(10).cloned().collect()
    };
    let none: Vec<String> = Vec::new();
    assert_eq!(
        differ(&embedded.1, &hatchet.1),
        none,
        "runs only with the embedded engine"
    );
    assert_eq!(
        differ(&hatchet.1, &embedded.1),
        none,
        "runs only with Hatchet"
    );
    assert_eq!(
        differ(&embedded.0, &hatchet.0),
        none,
        "mails only with the embedded engine"
    );
    assert_eq!(
        differ(&hatchet.0, &embedded.0),
        none,
        "mails only with Hatchet"
    );
    assert!(embedded == hatchet, "one is there twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_month_of_a_few_people_has_the_same_mails_with_each_engine() {
    lives_are_the_same(8, 30).await;
}

/// `HOGSEND_TEST_YEAR` overrides the number of people.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes long: `cargo xtask long`"]
async fn a_year_of_a_thousand_people_has_the_same_mails_with_each_engine() {
    let people = std::env::var("HOGSEND_TEST_YEAR").map_or(1_000, |n| n.parse().unwrap());
    lives_are_the_same(people, 365).await;
}
