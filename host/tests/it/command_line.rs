//! `hogsend admin …`, `hogsend journeys …` and `hogsend templates …` at the command line of an
//! installation.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::process::{self, binary};
use crate::support::{Server, Store};

/// Runs a command with only a database configured, as in production. Returns whether it succeeded
/// and its output.
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
    // A command that does not read its input may have ended already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let ended = child.wait_with_output().unwrap();
    let said = String::from_utf8([ended.stdout, ended.stderr].concat()).unwrap();
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        0,
        "it leaves files behind"
    );
    (ended.status.success(), said)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_are_shown_and_changed_with_a_database_alone_and_changes_are_audited() {
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
    assert!(done && said.contains("continues"), "{said}");
    assert_eq!(audits().await, format!("command journey_state.retry {id}"));
    // A refused command leaves no audit row.
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
    assert!(said.contains("no run has failed or is stuck"), "{said}");
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
fn read_only_commands_say_which_database_they_need() {
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
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// Exit code and output of `hogsend templates <arguments>`, with `TEMPLATE_DIR` set to the folder
/// `mails`.
fn templates(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let mails = folder.join("mails");
    let variables = [
        ("TEMPLATE_DIR", mails.to_str().unwrap()),
        ("LOG_LEVEL", "error"),
    ];
    process::run(folder, &[&["templates"], arguments].concat(), &variables)
}

#[test]
fn a_template_is_shown_with_its_props_and_as_a_file() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("mails")).unwrap();
    let (code, said) = templates(folder.path(), &["show", "password-reset"]);
    assert_eq!(code, Some(0), "{said}");
    for told in [
        "password-reset (transactional), plugin lifecycle\n",
        "    props.url (url, required unless code is given): ",
        "\n+++\n",
        "category = \"transactional\"\n",
        "[props.url]\n",
        "<h1>Choose a new password</h1>",
    ] {
        assert!(said.contains(told), "{told} is not in {said}");
    }
    let (code, said) = templates(folder.path(), &["show", "pasword-reset"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("did you mean 'password-reset'?"), "{said}");
    assert_eq!(said.trim().lines().count(), 1, "{said}");
}

#[test]
fn an_ejected_template_is_a_file_that_is_used_and_never_overwritten_without_force() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mails = folder.join("mails");
    let (welcome, layout) = (mails.join("welcome.mjml"), mails.join("layout.mjml"));
    // With an unknown key among them nothing is written.
    let (code, said) = templates(folder, &["eject", "welcome", "welcom"]);
    assert!(code == Some(1) && !welcome.exists(), "{said}");
    let (code, said) = templates(folder, &["eject", "welcome", "layout"]);
    assert_eq!(code, Some(0), "{said}");
    for file in [&welcome, &layout] {
        assert!(
            said.contains(&format!("wrote {}\n", file.display())),
            "{said}"
        );
    }
    // The ejected file renders like the plugin's template; only its origin differs.
    let rendered = |part: &str| templates(folder, &["render", "welcome", "--part", part]);
    let html = rendered("html");
    assert_eq!(html.0, Some(0), "{}", html.1);
    let (code, shown) = templates(folder, &["show", "welcome"]);
    assert_eq!(code, Some(0), "{shown}");
    let place = format!("welcome (journey), {}\n", welcome.display());
    assert!(shown.starts_with(&place), "{shown}");
    assert!(shown.contains(fs::read_to_string(&welcome).unwrap().trim()));
    fs::remove_dir_all(&mails).unwrap();
    fs::create_dir(&mails).unwrap();
    assert_eq!(rendered("html"), html);

    // An existing file may be edited already.
    let own = "+++\nsubject = \"Servus\"\n+++\n<p>Our own words</p>";
    fs::write(&welcome, own).unwrap();
    assert_eq!(rendered("subject"), (Some(0), "Servus\n".to_owned()));
    assert!(rendered("text").1.contains("Our own words"));
    let (code, said) = templates(folder, &["eject", "--all"]);
    assert_eq!(code, Some(1), "{said}");
    let words = format!(
        "{} exists already; use --force to overwrite it",
        welcome.display()
    );
    assert!(said.contains(&words), "{said}");
    assert_eq!(fs::read_to_string(&welcome).unwrap(), own);
    assert!(!layout.exists(), "all or nothing");
    // In another folder there is nothing to overwrite.
    let (code, said) = templates(folder, &["eject", "welcome", "--to", "elsewhere"]);
    assert_eq!(code, Some(0), "{said}");
    let copy = fs::read_to_string(folder.join("elsewhere/welcome.mjml")).unwrap();
    assert!(
        copy.contains("Servus") && copy.contains("Our own words"),
        "the template that is in use: {copy}"
    );
    let (code, said) = templates(folder, &["eject", "--all", "--force"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(layout.exists() && mails.join("password-reset.mjml").exists());
    let (code, said) = templates(folder, &["list"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        !said.contains("plugin lifecycle"),
        "every one is a file: {said}"
    );
}
