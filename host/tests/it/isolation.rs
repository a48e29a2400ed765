//! Plugins in child processes: libraries, and programs of any language.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use hmac::{Hmac, Mac as _};
use hogsend::cache::Cache;
use hogsend::clock::Clock;
use hogsend::http_client::http_client;
use hogsend::plugins::{
    Discovered, ErrorKind, Isolation, Performer, PluginError, Problem, Registry,
};
use hogsend::purpose::ByPurpose;
use hogsend_plugin_api::{Reading, Settings, SourceEvent, Webhook};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::plugins::library;
use crate::support::process::{Process, binary, free_port, run, until};
use crate::support::resend::Resend;
use crate::support::{Server, Store, posthog};

/// A folder with the plugin of every fault, and a `plugins.toml`.
pub fn faults(plan: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(library("faults"), folder.path().join("faults.so")).unwrap();
    if !plan.is_empty() {
        fs::write(folder.path().join("plugins.toml"), plan).unwrap();
    }
    folder
}

/// Starts the plugins of a folder with these settings for the plugin of every fault.
pub async fn start(folder: &Path, settings: Settings) -> Result<Registry, Vec<Problem>> {
    let isolation = Isolation {
        program: binary(),
        unless_locked: false,
    };
    // Children that are started again open the copies.
    let data = folder.join("data");
    let (path, cache) = (folder.to_owned(), data.join("plugins"));
    let find = move || Discovered::find_with(Some(&path), &cache, &isolation);
    let (found, problems) = tokio::task::spawn_blocking(find).await.unwrap();
    if !problems.is_empty() {
        return Err(problems);
    }
    let clock = Clock::manual("2026-03-02T09:00:00Z".parse().unwrap());
    let cache = Arc::new(Cache::connect(None, clock.clone()));
    let performer = Performer::new(http_client(), cache, data);
    let all = [("faults".to_owned(), settings)].into();
    found
        .start(
            &all,
            &ByPurpose::both(vec!["faults".into()]),
            &[],
            performer,
            clock,
        )
        .await
}

/// Reads a webhook that names a fault.
pub async fn read(plugins: &Registry, fault: &str) -> Result<SourceEvent, PluginError> {
    let webhook = Webhook::new(Vec::new(), fault, Default::default());
    let source = plugins.event_source("faults").unwrap();
    let Reading::Events(mut events) = source.read(&webhook).await?.unwrap() else {
        panic!("no events");
    };
    Ok(events.remove(0))
}

async fn process_of(plugins: &Registry) -> u64 {
    let event = read(plugins, "process").await.unwrap();
    event.properties["id"].as_u64().unwrap()
}

fn runs(id: u64) -> bool {
    // A process that has ended and is not waited for has no command line.
    let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
    !line.is_empty()
}

const APART: &str = "isolation = \"process\"";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_has_nothing_of_the_hosts_environment_and_ends_with_its_registry() {
    let folder = faults(APART);
    let plugins = start(folder.path(), Settings::default()).await.unwrap();
    let names = read(&plugins, "environment").await.unwrap().properties;
    assert_eq!(names["names"], json!([]));
    let id = process_of(&plugins).await;
    assert_ne!(id, u64::from(std::process::id()));
    assert!(runs(id));
    drop(plugins);
    until("the child ends", async || !runs(id)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_child_fails_its_call_and_comes_back() {
    let folder = faults(APART);
    let plugins = start(folder.path(), Settings::default()).await.unwrap();
    let id = process_of(&plugins).await;
    let own = plugins.clone();
    let call = tokio::spawn(async move { read(&own, "loop").await.unwrap_err() });
    // Its thread turns once the call has begun.
    until("the call runs", async || works(id)).await;
    let killed = Command::new("kill")
        .args(["-KILL", &id.to_string()])
        .status();
    assert!(killed.unwrap().success());
    let error = call.await.unwrap();
    assert_eq!(
        (error.kind, error.begun),
        (ErrorKind::Ended, false),
        "{error}"
    );
    assert!(error.message.contains("SIGKILL"), "{error}");
    let next = process_of(&plugins).await;
    assert_ne!(next, id);
    assert!(!runs(id) && runs(next));
}

/// Whether it has used the processor for a fifth of a second.
fn works(id: u64) -> bool {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    let after = stat.rsplit(')').next().unwrap();
    let ticks: u64 = after.split_whitespace().nth(11).unwrap().parse().unwrap();
    ticks > 20
}

/// Several calls are in the child when one of them ends it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_call_that_ends_the_child_fails() {
    let folder = faults(APART);
    let plugins = start(folder.path(), Settings::default()).await.unwrap();
    let faults = ["slow", "slow", "abort", "slow", "slow"];
    let calls = faults.map(|fault| {
        let plugins = plugins.clone();
        tokio::spawn(async move { (fault, read(&plugins, fault).await) })
    });
    for call in calls {
        match call.await.unwrap() {
            ("abort", answer) => assert_eq!(answer.unwrap_err().kind, ErrorKind::Ended),
            (fault, answer) => assert!(answer.is_ok(), "{fault}: {answer:?}"),
        }
    }
}

/// Its plugin's process ends, not the worker's, so no other run waits for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_ends_its_plugins_process_is_stuck_and_the_others_continue() {
    let folder = faults(APART);
    let variables = [
        ("PLUGIN_DIR", folder.path().to_str().unwrap()),
        ("EMAIL_PROVIDER", "faults"),
    ];
    let server = Server::with(Store::native().await, &variables).await;
    for n in 0..4 {
        let fault = if n == 2 { "abort" } else { "none" };
        let event = json!({
            "event": "faults.run", "userId": format!("u{n}"), "properties": { "fault": fault },
        });
        assert_eq!(server.post("/v1/ingest", &event).await.status, 202);
    }
    server.drain().await;
    let waiting = "SELECT count(*) FROM journey_states WHERE status = 'waiting'";
    assert_eq!(server.count(waiting).await, 3);
    let open = "SELECT count(*) FROM journey_states WHERE status = 'stuck'";
    until("the run is stuck", async || {
        server.advance(Duration::from_secs(60)).await;
        server.count(open).await == 1
    })
    .await;
    let stuck = "SELECT c.external_id || ' ' || s.stuck_reason || ' ' || s.error_message
        FROM journey_states s JOIN contacts c ON c.id = s.contact_id WHERE s.status = 'stuck'";
    let stuck = server.text(stuck).await;
    for part in [
        "u2 worker_died",
        "ended the plugin's process 5 times",
        "SIGABRT",
    ] {
        assert!(stuck.contains(part), "{part}: {stuck}");
    }
    server.advance(Duration::from_secs(3_600)).await;
    let completed = "SELECT count(*) FROM journey_states WHERE status = 'completed'";
    assert_eq!(server.count(completed).await, 3);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_ends_with_its_host_even_in_a_call_that_does_not_end() {
    let folder = faults(APART);
    let data = tempfile::tempdir().unwrap();
    let store = Store::native().await;
    let server = Server::start(store).await;
    let mut host = Process::start(
        "dev",
        free_port(),
        &[
            ("DATABASE_URL", server.database_url()),
            ("PLUGIN_DIR", folder.path().to_str().unwrap()),
            ("HOGSEND_DATA_DIR", data.path().to_str().unwrap()),
            ("REDIS_URL", "redis://127.0.0.1:1"),
            ("EMAIL_PROVIDER", "faults"),
        ],
    );
    let client = reqwest::Client::new();
    let post = async |body: &'static str| {
        let url = host.url("/v1/webhooks/faults");
        client.post(url).body(body).send().await
    };
    until(
        "the host answers",
        async || matches!(post("process").await, Ok(answer) if answer.status() == 200),
    )
    .await;
    let id = "SELECT properties->>'id' FROM user_events WHERE properties ? 'id' LIMIT 1";
    let id: u64 = server.text(id).await.parse().unwrap();
    assert!(runs(id));
    let hangs = tokio::time::timeout(Duration::from_secs(1), post("loop")).await;
    assert!(hangs.is_err(), "{hangs:?}");
    host.kill();
    until("the child ends", async || !runs(id)).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_production_only_pinned_libraries_share_the_hosts_process() {
    let folder = faults("");
    let place = |pins: Option<&str>, plan: &str| {
        let lock = folder.path().join("plugins.lock");
        let _ = fs::remove_file(&lock);
        if let Some(hash) = pins {
            fs::write(lock, format!("{hash}  faults.so\n")).unwrap();
        }
        fs::write(folder.path().join("plugins.toml"), plan).unwrap();
        let data = tempfile::tempdir().unwrap();
        let isolation = Isolation {
            program: binary(),
            ..Isolation::of_process(true)
        };
        let (found, problems) = Discovered::find_with(Some(folder.path()), data.path(), &isolation);
        assert!(problems.is_empty(), "{}", problems[0]);
        let info = found.info();
        let faults = info.iter().find(|plugin| plugin.id == "faults").unwrap();
        (faults.isolated, faults.sha256.clone().unwrap())
    };
    let (isolated, hash) = place(None, "");
    assert!(isolated);
    assert!(!place(Some(&hash), "").0);
    assert!(place(Some(&hash), APART).0);
    assert!(
        !place(
            None,
            "[[plugin]]\nfile = \"faults.so\"\nisolation = \"none\""
        )
        .0
    );
    assert!(!Isolation::of_process(false).unless_locked);
}

#[test]
fn a_mistake_in_the_plan_is_named_and_loads_nothing() {
    let folder = faults("[[plugin]]\nfile = \"faults.so\"\nisolated = true");
    let data = tempfile::tempdir().unwrap();
    let variables = [
        ("PLUGIN_DIR", folder.path().to_str().unwrap()),
        ("HOGSEND_DATA_DIR", data.path().to_str().unwrap()),
    ];
    let (code, said) = run(data.path(), &["plugins", "list"], &variables);
    assert_eq!(code, Some(78), "{said}");
    let named = "PLUGIN-020";
    for part in [named, "plugins.toml", "line 3", "unknown field `isolated`"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!said.contains("faults 1.0.0"), "{said}");

    fs::write(folder.path().join("plugins.toml"), APART).unwrap();
    let (code, said) = run(data.path(), &["plugins", "list"], &variables);
    assert_eq!(code, Some(0), "{said}");
    let line = said.lines().find(|line| line.starts_with("faults 1.0.0"));
    assert!(
        line.unwrap().ends_with(", in a process of its own"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_library_gets_a_child_of_its_own_and_the_former_one_ends() {
    let folder = faults(APART);
    let variables = [
        ("PLUGIN_DIR", folder.path().to_str().unwrap()),
        ("EMAIL_PROVIDER", "faults"),
    ];
    let server = Server::with(Store::native().await, &variables).await;
    let before = process_of(&server.app.plugins()).await;
    // Nothing changed, so the child goes on.
    assert_eq!(server.reload().await.changed, Vec::<String>::new());
    assert_eq!(process_of(&server.app.plugins()).await, before);

    let file = folder.path().join("faults.so");
    let mut bytes = fs::read(&file).unwrap();
    bytes.push(0);
    let other = folder.path().join("next");
    fs::write(&other, bytes).unwrap();
    fs::rename(&other, &file).unwrap();
    let reloaded = server.reload().await;
    assert_eq!(reloaded.refused, Vec::<String>::new());
    assert!(
        reloaded.changed[0].starts_with("plugin 'faults'"),
        "{reloaded:?}"
    );
    let now = process_of(&server.app.plugins()).await;
    assert_ne!(now, before);
    until("the former child ends", async || !runs(before)).await;
    assert!(runs(now));
    server.stop().await;
}

/// The main job with every plugin in a child comes to what it comes to with every plugin linked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_main_job_is_done_with_plugins_in_children() {
    let folder = tempfile::tempdir().unwrap();
    for plugin in ["posthog", "resend", "lifecycle"] {
        let to = folder.path().join(format!("{plugin}.so"));
        fs::copy(library(plugin), to).unwrap();
    }
    fs::write(folder.path().join("plugins.toml"), APART).unwrap();
    let resend = Resend::start().await;
    let url = resend.url();
    let variables = [
        ("PLUGIN_DIR", folder.path().to_str().unwrap()),
        ("EMAIL_PROVIDER", "resend"),
        ("RESEND_API_KEY", Resend::KEY),
        ("RESEND_BASE_URL", &url),
    ];
    let server = Server::with(Store::native().await, &variables).await;
    let plugins = server.app.plugins();
    let isolated = plugins.info().iter().filter(|one| one.isolated);
    assert_eq!(isolated.count(), 3);
    let body = posthog("0190-i", "user.created", "u-1", "ann@example.com", "Ann");
    let answer = server.post("/v1/webhooks/posthog", &body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    server.drain().await;
    server.advance(Duration::from_secs(3 * 86_400)).await;
    assert_eq!(resend.accepted().len(), 2);
    let ended = server.text("SELECT status FROM journey_states").await;
    assert_eq!(ended, "completed");
    server.stop().await;
}

/// `examples/python-webhook-source`, as it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_in_python_is_a_webhook_source() {
    if Command::new("python3").arg("--version").output().is_err() {
        eprintln!(
            "\n*** SKIPPED: python3 is missing, so the example in Python is NOT tested ***\n"
        );
        return;
    }
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/python-webhook-source");
    let variables = [
        ("PLUGIN_DIR", example.to_str().unwrap()),
        ("SHOP_WEBHOOK_SECRET", "hush"),
    ];
    let server = Server::with(Store::native().await, &variables).await;
    let post = async |body: &Value, secret: &[u8]| {
        let body = body.to_string();
        let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
        mac.update(body.as_bytes());
        let signature = hex::encode(mac.finalize().into_bytes());
        let request = axum::http::Request::post("/v1/webhooks/python-shop")
            .header("x-shop-signature", signature)
            .body(axum::body::Body::from(body));
        server.request(request.unwrap()).await
    };
    let order = json!({
        "id": "o1", "type": "order.placed", "customer": { "email": "ann@example.com" }, "total": 12,
    });
    assert_eq!(
        post(&order, b"guess").await.status,
        StatusCode::UNAUTHORIZED
    );
    for _ in 0..2 {
        let answer = post(&order, b"hush").await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    }
    let ping = post(&json!({ "type": "ping", "customer": {} }), b"hush").await;
    assert!(
        ping.text().contains("a ping of the shop"),
        "{}",
        ping.text()
    );
    let wrong = post(&json!({ "no": "order" }), b"hush").await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST, "{}", wrong.text());
    assert!(
        wrong.text().contains("this is not an order"),
        "{}",
        wrong.text()
    );
    // The second order is the first one again.
    let stored =
        "SELECT count(*) || ' ' || min(e.name || ' ' || c.email || ' ' || (e.properties->>'total'))
        FROM user_events e JOIN contacts c ON c.id = e.contact_id WHERE e.source = 'python-shop'";
    assert_eq!(
        server.text(stored).await,
        "1 order.placed ann@example.com 12"
    );
    server.stop().await;
}

/// A program that answers as `answers` says: each line of shell writes one message.
fn program(answers: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("x.sh"), answers).unwrap();
    let plan = "[[plugin]]\nprogram = [\"sh\", \"x.sh\"]";
    fs::write(folder.path().join("plugins.toml"), plan).unwrap();
    folder
}

/// Shell that writes a message of less than 256 bytes.
fn message(text: &str) -> String {
    assert!(text.len() < 256);
    format!("printf '\\000\\000\\000\\{:o}%s' '{text}'\n", text.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_breaks_the_protocol_is_refused_with_the_reason() {
    let manifest = r#"{"id":"x","version":"1.0.0","api":"1.0.0"}"#;
    let greets = |protocol: u32, manifest: &str| {
        let result = format!(r#"{{"protocol":{protocol},"manifest":{manifest}}}"#);
        message(&format!(r#"{{"id":1,"result":{result}}}"#)) + "cat >/dev/null\n"
    };
    for (answers, code, named) in [
        ("exit 3\n".to_owned(), "PLUGIN-021", "exit status: 3"),
        (
            "echo no such module >&2; exit 1\n".into(),
            "PLUGIN-021",
            "no such module",
        ),
        (
            "echo hello; cat >/dev/null\n".into(),
            "PLUGIN-021",
            "print to standard error",
        ),
        (
            message("[1]") + "cat >/dev/null\n",
            "PLUGIN-021",
            "no answer",
        ),
        (
            greets(2, manifest),
            "PLUGIN-007",
            "version 2 of the plugin protocol",
        ),
        (
            greets(1, r#"{"id":7}"#),
            "PLUGIN-009",
            "manifest cannot be read",
        ),
        (
            greets(1, &manifest.replace("\"x\"", "\"X y\"")),
            "PLUGIN-009",
            "has the id 'X y'",
        ),
        (
            message(r#"{"id":1,"error":{"code":7,"message":"not today"}}"#) + "cat >/dev/null\n",
            "PLUGIN-021",
            "not today",
        ),
    ] {
        let folder = program(&answers);
        let problems = start(folder.path(), Settings::default())
            .await
            .err()
            .unwrap();
        let [problem] = problems.as_slice() else {
            panic!("{answers}: {problems:?}");
        };
        assert_eq!(problem.code, code, "{problem}");
        assert!(problem.message.contains(named), "{named}: {problem}");
        assert!(!problem.message.contains('\n'), "{problem}");
    }
    let folder = program(&greets(1, manifest));
    let (found, problems) = Discovered::find_with(
        Some(folder.path()),
        folder.path(),
        &Isolation {
            program: binary(),
            unless_locked: true,
        },
    );
    assert!(problems.is_empty(), "{problems:?}");
    assert!(
        found
            .info()
            .iter()
            .any(|plugin| plugin.id == "x" && plugin.isolated)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_program_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let plan = "[[plugin]]\nprogram = [\"no-such-program\", \"-x\"]";
    fs::write(folder.path().join("plugins.toml"), plan).unwrap();
    let problems = start(folder.path(), Settings::default())
        .await
        .err()
        .unwrap();
    let problem = problems[0].to_string();
    for part in [
        "PLUGIN-021",
        "no-such-program -x",
        "cannot be run",
        "No such file",
    ] {
        assert!(problem.contains(part), "{part}: {problem}");
    }
}
