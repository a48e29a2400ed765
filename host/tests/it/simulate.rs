//! `hogsend journeys …`: a simulation without a database, and whether it is true.

use std::path::Path;
use std::process::{Command, Output};

use std::time::Duration;

use hogsend_plugin_api::Settings;
use hogsend_plugin_kit::sim::{Outcome, Sim};
use hogsend_plugin_kit::start;
use serde_json::{Value, json};

use crate::support::journeys_plugin::TestJourneys;
use crate::support::process::binary;
use crate::support::{Server, Store};

/// Runs `hogsend journeys …` with nothing of this environment but what is given.
fn journeys(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    Command::new(binary())
        .arg("journeys")
        .args(arguments)
        .env_clear()
        .env("LOG_LEVEL", "warn")
        .envs(variables.iter().copied())
        .current_dir(folder)
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn folder(events: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("events.jsonl"), events).unwrap();
    folder
}

const EVENTS: &str = r#"{"at":"2026-03-01T08:00:00Z","event":"user.created","userId":"ada","email":"ada@example.com"}
{"event":"user.created","userId":"eve","email":"eve@example.com"}
{"after":"1d","event":"feature.used","userId":"eve"}
{"event":"user.created","userId":"ada"}
{"opened":"welcome","userId":"ada"}
"#;

const WELCOME: [&str; 4] = ["simulate", "activation-welcome", "--events", "events.jsonl"];

#[test]
fn journeys_are_listed() {
    let folder = folder("");
    let listed = text(&journeys(folder.path(), &["list"], &[]));
    let welcome = listed
        .lines()
        .find(|line| line.starts_with("activation-welcome "))
        .unwrap();
    for part in ["user.created", "once", "yes", "lifecycle "] {
        assert!(welcome.contains(part), "{welcome}");
    }
    let selected = [("ENABLED_JOURNEYS", "test-onboarding")];
    let listed = text(&journeys(folder.path(), &["list", "--json"], &selected));
    let listed: Vec<Value> = serde_json::from_str(&listed).unwrap();
    let welcome = listed
        .iter()
        .find(|journey| journey["id"] == "activation-welcome")
        .unwrap();
    assert_eq!(welcome["enabled"], false);
    assert_eq!(welcome["plugin"]["id"], "lifecycle");
    assert_eq!(welcome["trigger"]["event"], "user.created");
}

#[test]
fn events_are_played() {
    let folder = folder(EVENTS);
    let told = text(&journeys(folder.path(), &WELCOME, &[]));
    for part in [
        "2026-03-01 08:00  ada           activation-welcome    sent welcome to ada@example.com",
        "2026-03-03 08:00  ada           activation-welcome    sent activation-nudge to ada@example.com",
        "2 runs: 2 completed",
        "3 mails: 3 sent",
        "1 × not entered: activation-welcome, already_entered_once",
    ] {
        assert!(told.contains(part), "no '{part}' in\n{told}");
    }
}

#[test]
fn the_same_seed_is_the_same_byte_for_byte() {
    let folder = folder(EVENTS);
    let played = |seed: &str, until: &str| {
        let more = ["--seed", seed, "--until", until, "--json"];
        let output = journeys(folder.path(), &[&WELCOME[..], &more].concat(), &[]);
        text(&output)
    };
    let first = played("7", "90d");
    assert_eq!(first, played("7", "90d"));
    assert_ne!(first, played("8", "90d"));
    let short: Value = serde_json::from_str(&played("7", "1d12h")).unwrap();
    assert_eq!(short["runs"][0]["status"], "waiting");
    assert_eq!(short["endsAt"], "2026-03-02T20:00:00Z");
    let long: Value = serde_json::from_str(&first).unwrap();
    assert_eq!(long["mails"].as_array().unwrap().len(), 3);
}

#[test]
fn the_policy_of_the_installation_holds() {
    let folder = folder(EVENTS);
    let policy = [
        ("EMAIL_SEND_WINDOW", "09:00-17:00"),
        ("DEFAULT_TIMEZONE", "America/New_York"),
    ];
    let told = text(&journeys(folder.path(), &WELCOME[..], &policy));
    // Eight o'clock in London is three in New York.
    for part in [
        "2026-03-01 08:00  ada           activation-welcome    mail welcome waits until 2026-03-01 14:00",
        "2026-03-01 14:00  ada           activation-welcome    sent welcome",
    ] {
        assert!(told.contains(part), "no '{part}' in\n{told}");
    }
}

#[test]
fn what_cannot_be_played_is_named() {
    let folder =
        folder("{\"event\":\"a\"}\n{\"evnt\":\"a\"}\n{\"event\":\"a\",\"after\":\"soon\"}\n");
    let output = journeys(folder.path(), &WELCOME, &[]);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    for part in ["events.jsonl:2: ", "`evnt`", "events.jsonl:3: ", "2d3h"] {
        assert!(error.contains(part), "no '{part}' in\n{error}");
    }
    let mut unknown = WELCOME;
    unknown[1] = "nobodys";
    let output = journeys(folder.path(), &unknown, &[]);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("known: ") && error.contains("activation-welcome"));
    let output = journeys(folder.path(), &["list"], &[("LOG_LEVEL", "loud")]);
    assert_eq!(output.status.code(), Some(78));
}

/// Chance, the same for a seed.
fn roll(state: &mut u64, sides: u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state % sides
}

const NAMES: [&str; 35] = [
    "t.exit",
    "t.stop",
    "t.paid",
    "t.where",
    "t.once",
    "t.hourly",
    "t.slow",
    "t.off",
    "t.loop",
    "t.echo",
    "t.panic",
    "t.error",
    "t.race",
    "t.mail",
    "t.count",
    "s.wait",
    "s.paid",
    "s.paid",
    "s.lookback",
    "s.own",
    "s.digest",
    "s.throttle",
    "s.once",
    "s.other",
    "s.gap",
    "s.mails",
    "s.past",
    "s.exit",
    "s.until",
    "s.sequence",
    "s.between",
    "s.two",
    "s.rest",
    "t.relay",
    "t.late",
];

/// Three people do the same things for four days, here and in the simulator, and the same comes of
/// it: runs and how they ended, mails and why not, who was turned away, and all that was ingested.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_simulation_comes_to_what_the_host_comes_to() {
    let server = Server::start(Store::native().await).await;
    let mut sim = Sim::of(start::<TestJourneys>(&Settings::default()).unwrap())
        .starting(server.now())
        .without_timeline();
    let mut dice = 20_260_302;
    for hour in 0..96 {
        for _ in 0..4 {
            let user = format!("u{}", roll(&mut dice, 3));
            let name = NAMES[roll(&mut dice, NAMES.len() as u64) as usize];
            let plan = ["free", "pro"][roll(&mut dice, 2) as usize];
            let properties = json!({ "amount": roll(&mut dice, 20), "plan": plan });
            let email = format!("{user}@example.com");
            let body = json!({ "event": name, "userId": user, "userEmail": email, "properties": properties });
            let answer = server.post("/v1/ingest", &body).await;
            assert_eq!(answer.status, 202, "{}", answer.text());
            server.drain().await;
            sim.person(&user).event_with(name, properties);
        }
        if hour == 70 {
            server.run_sql("INSERT INTO email_preferences (contact_id, categories, updated_at) SELECT id, '{\"journey\": false}', now() FROM contacts").await;
            for user in ["u0", "u1", "u2"] {
                sim.person(user).unsubscribe("journey");
            }
        }
        server.advance(Duration::from_secs(3_600)).await;
        sim.advance(Duration::from_secs(3_600));
    }

    let runs: Vec<String> = sim
        .runs()
        .iter()
        .map(|run| format!("{} {} {}", run.person, run.journey, run.status))
        .collect();
    assert_eq!(
        lines(&server, "SELECT string_agg(c.external_id || ' ' || s.journey_id || ' ' || s.status, ';') FROM journey_states s JOIN contacts c ON c.id = s.contact_id").await,
        sorted(runs)
    );
    let mails: Vec<String> = sim
        .mails()
        .iter()
        .map(|mail| {
            let end = match &mail.outcome {
                Outcome::Queued => "queued".to_owned(),
                Outcome::Sent(_) => "sent".to_owned(),
                Outcome::Skipped(reason) => format!("skipped {reason}"),
                Outcome::Failed(reason) => format!("failed {reason}"),
            };
            format!("{} {} {end}", mail.person, mail.template)
        })
        .collect();
    assert!(
        mails
            .iter()
            .any(|mail| mail.ends_with("skipped user_unsubscribed"))
    );
    assert_eq!(
        lines(&server, "SELECT string_agg(c.external_id || ' ' || m.template_key || ' ' || m.status || coalesce(' ' || m.reason, ''), ';') FROM email_sends m JOIN contacts c ON c.id = m.contact_id").await,
        sorted(mails)
    );
    let refusals: Vec<String> = sim
        .refusals()
        .map(|(journey, reason, count)| format!("{journey} {reason} {count}"))
        .collect();
    assert!(refusals.len() > 8, "{refusals:?}");
    assert_eq!(
        lines(&server, "SELECT string_agg(line, ';') FROM (SELECT journey_id || ' ' || reason || ' ' || count(*) AS line FROM enrolment_skips WHERE journey_id LIKE '_-%' GROUP BY journey_id, reason) AS lines").await,
        sorted(refusals)
    );
    let checkpoints: Vec<String> = sim
        .runs()
        .iter()
        .flat_map(|run| &run.checkpoints)
        .cloned()
        .collect();
    assert_eq!(
        lines(
            &server,
            "SELECT string_agg(args->>'label', ';') FROM journey_steps WHERE kind = 'checkpoint'"
        )
        .await,
        sorted(checkpoints)
    );
    let ended = sim.runs().iter().filter(|run| run.status.is_over()).count();
    assert_eq!(
        server
            .count("SELECT count(*) FROM user_events WHERE name LIKE 'journey.%'")
            .await,
        ended as i64
    );
    server.stop().await;
}

async fn lines(server: &Server, sql: &'static str) -> Vec<String> {
    let text = server.text(sql).await;
    sorted(text.split(';').map(str::to_owned).collect())
}

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

#[test]
fn a_simulation_reads_standard_input_counts_one_as_one_and_says_when_nothing_begins() {
    use std::io::Write as _;
    use std::process::Stdio;

    let folder = folder("");
    let play = |lines: &str| {
        let mut child = Command::new(binary())
            .args([
                "journeys",
                "simulate",
                "activation-welcome",
                "--events",
                "-",
            ])
            .env_clear()
            .env("LOG_LEVEL", "warn")
            .env("EVENT_ALIASES", "signed_up=user.created")
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(lines.as_bytes())
            .unwrap();
        child.wait_with_output().unwrap()
    };
    let long = "a-very-long-id-of-a-person-0123456789";
    let told = text(&play(&format!(
        "{{\"event\":\"signed_up\",\"userId\":\"{long}\",\"email\":\"a@example.com\"}}\n"
    )));
    assert!(told.contains("\n1 run: 1 completed\n"), "{told}");
    let columns: Vec<_> = told
        .lines()
        .filter(|line| line.contains(long))
        .filter_map(|line| line.find("activation-welcome"))
        .collect();
    assert!(
        columns.len() > 2 && columns.iter().all(|at| *at == columns[0]),
        "{told}"
    );
    assert!(!told.contains("no event of the file"), "{told}");

    let told = text(&play("{\"event\":\"user.craeted\",\"userId\":\"a\"}\n"));
    assert!(told.contains("\n0 runs\n0 mails\n"), "{told}");
    assert!(
        told.contains("'user.craeted': did you mean 'user.created'?"),
        "{told}"
    );
    assert!(
        told.contains(
            "no event of the file starts activation-welcome, which starts with 'user.created'"
        ),
        "{told}"
    );
    let refused = play("nonsense\n");
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("standard input:1: is not a JSON object")
    );
}
