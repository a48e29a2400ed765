//! `hogsend admin …` and `hogsend journeys …` at the command line of an installation.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::process::binary;
use crate::support::{Server, Store};

/// Runs a command with nothing but a database, as in production. Returns whether it succeeded and what
/// it said.
fn run(url: &str, arguments: &[&str], input: &str) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(binary())
        .args(arguments)
        .env_clear()
        .env("DATABASE_URL", url)
        .env("NODE_ENV", "production")
        .env("LOG_LEVEL", "error")
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that reads nothing may be gone already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let ended = child.wait_with_output().unwrap();
    let said = String::from_utf8([ended.stdout, ended.stderr].concat()).unwrap();
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        0,
        "it leaves files behind"
    );
    (ended.status.success(), said)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_are_looked_at_and_changed_with_a_database_alone_and_changes_are_audited() {
    let store = Store::native().await;
    let url = store.url().to_owned();
    let server = Server::start(store).await;
    for user in ["ann", "bob"] {
        let event = json!({ "event": "user.created", "userId": user, "userEmail": format!("{user}@example.com") });
        server.post("/v1/ingest", &event).await;
    }
    server.drain().await;
    server
        .run_sql("UPDATE journey_states SET status = 'failed', error_message = 'the code panicked'")
        .await;
    let id = server.text("SELECT s.id::text FROM journey_states s JOIN contacts c ON c.id = s.contact_id WHERE c.external_id = 'ann'").await;
    let other = server.text("SELECT s.id::text FROM journey_states s JOIN contacts c ON c.id = s.contact_id WHERE c.external_id = 'bob'").await;

    let (done, said) = run(&url, &["journeys", "broken"], "");
    assert!(done, "{said}");
    for told in [
        &id,
        "failed",
        "activation-welcome for ann",
        "the code panicked",
        &format!("hogsend journeys retry {id}"),
    ] {
        assert!(said.contains(told), "{told} is not in {said}");
    }
    let (_, said) = run(&url, &["journeys", "broken", "--json"], "");
    let all: Vec<Value> = serde_json::from_str(&said).unwrap();
    assert_eq!(all.len(), 2);
    let (_, said) = run(&url, &["journeys", "show", &id], "");
    assert!(
        said.contains("send welcome") && said.contains("sleep 'settle-in' 2d"),
        "{said}"
    );
    assert!(!said.contains('{'), "{said}");
    let (_, said) = run(&url, &["journeys", "show", &id, "--json"], "");
    let one: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(one["steps"][0]["args"]["template"], "welcome");

    let audits = async || {
        server.text("SELECT string_agg(actor_type || ' ' || action || ' ' || resource_id, ', ' ORDER BY created_at, id) FROM audit_logs").await
    };
    let (done, said) = run(&url, &["journeys", "retry", &id], "");
    assert!(done && said.contains("goes on"), "{said}");
    assert_eq!(audits().await, format!("command journey_state.retry {id}"));
    // What is refused leaves no row.
    let (done, said) = run(&url, &["journeys", "retry", &id], "");
    assert!(
        !done && said.contains("only a run that is failed can be retried"),
        "{said}"
    );
    assert!(run(&url, &["journeys", "dismiss", &other], "").0);
    assert!(run(&url, &["journeys", "exit", &id, "--reason", "asked to"], "").0);
    assert_eq!(
        audits().await,
        format!(
            "command journey_state.retry {id}, command journey_state.dismiss {other}, command journey_state.exit {id}"
        )
    );
    let (_, said) = run(&url, &["journeys", "broken"], "");
    assert!(said.contains("no run failed or is stuck"), "{said}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn administrators_are_listed_and_removed() {
    let store = Store::native().await;
    let url = store.url().to_owned();
    let server = Server::start(store).await;
    let (_, said) = run(&url, &["admin", "list"], "");
    assert!(said.contains("there is no administrator"), "{said}");
    for email in ["ann@example.com", "bob-with-a-long-address@example.com"] {
        let (done, said) = run(
            &url,
            &["admin", "create", "--email", email],
            "correct horse\n",
        );
        assert!(done, "{said}");
    }
    let (_, said) = run(&url, &["admin", "list"], "");
    let columns: Vec<_> = said.lines().map(|line| line.find(", since")).collect();
    assert!(
        said.contains("ann@example.com ") && columns.len() == 2,
        "{said}"
    );
    let (done, said) = run(&url, &["admin", "remove", "--email", "ANN@example.com"], "");
    assert!(done, "{said}");
    let (done, said) = run(&url, &["admin", "remove", "--email", "ann@example.com"], "");
    assert!(!done && said.contains("hogsend admin list"), "{said}");
    let (done, said) = run(
        &url,
        &[
            "admin",
            "remove",
            "--email",
            "bob-with-a-long-address@example.com",
        ],
        "",
    );
    assert!(done && said.contains("there is no other"), "{said}");
    assert_eq!(server.count("SELECT count(*) FROM users").await, 0);
    assert_eq!(server.count("SELECT count(*) FROM audit_logs WHERE action = 'user.delete' AND actor_type = 'command'").await, 2);
    server.stop().await;
}

#[test]
fn commands_that_look_say_which_database_they_need() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(binary())
        .args(["journeys", "broken"])
        .env_clear()
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(78));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("1 problem to fix") && said.contains("DATABASE_URL is required"),
        "{said}"
    );
    assert!(said.contains("no database of `hogsend dev`"), "{said}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
