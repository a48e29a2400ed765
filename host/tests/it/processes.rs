//! `hogsend api` and `hogsend worker` as processes of their own, on a real Postgres and Redis.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::process::{Process, binary, free_port, run, until};
use crate::support::resend::{Resend, Seen};
use crate::support::{Store, posthog};

struct Installation {
    store: Store,
    variables: Vec<(String, String)>,
    _data: tempfile::TempDir,
}

impl Installation {
    async fn new(more: &[(&str, &str)]) -> Self {
        let store = Store::empty().await;
        let data = tempfile::tempdir().unwrap();
        let redis = std::env::var("HOGSEND_TEST_REDIS_URL")
            .expect("HOGSEND_TEST_REDIS_URL is not set: run the tests with `cargo xtask test`");
        let mut variables = vec![
            ("DATABASE_URL".to_owned(), store.url().to_owned()),
            ("REDIS_URL".to_owned(), redis),
            (
                "HOGSEND_DATA_DIR".to_owned(),
                data.path().to_str().unwrap().to_owned(),
            ),
            (
                "BETTER_AUTH_SECRET".to_owned(),
                "a secret of tests, long enough for all".to_owned(),
            ),
        ];
        variables.extend(
            more.iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        );
        Self {
            store,
            variables,
            _data: data,
        }
    }

    fn start(&self, command: &str) -> Process {
        let variables: Vec<_> = self
            .variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        Process::start(command, free_port(), &variables)
    }

    fn migrate(&self) {
        assert_eq!(self.start("migrate").wait(), Some(0));
    }

    async fn count(&self, sql: &'static str) -> i64 {
        let mut conn = self.store.db().conn().await.unwrap();
        sqlx::query_scalar(sql).fetch_one(&mut *conn).await.unwrap()
    }
}

async fn healthy(http: &reqwest::Client, process: &Process) -> Option<Value> {
    let answer = http.get(process.url("/v1/health")).send().await.ok()?;
    answer.json().await.ok()
}

/// Two workers share three hundred runs of three events each, and no step runs twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_workers_and_an_api_never_run_a_step_twice() {
    let resend = Resend::start().await;
    let url = resend.url();
    let installation = Installation::new(&[
        ("EMAIL_PROVIDER", "resend"),
        ("RESEND_API_KEY", Resend::KEY),
        ("RESEND_BASE_URL", &url),
    ])
    .await;
    installation.migrate();
    let api = installation.start("api");
    let mut workers = [installation.start("worker"), installation.start("worker")];
    let http = hogsend::http_client::http_client();
    until("everything is healthy", async || {
        healthy(&http, &api)
            .await
            .is_some_and(|health| health["status"] == "healthy")
    })
    .await;
    for n in 0..150 {
        let body = json!({ "event": "test.signup", "userId": format!("s{n}"), "properties": { "plan": "pro" } });
        let answer = http
            .post(api.url("/v1/ingest"))
            .json(&body)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 202);
        let body = posthog(
            &format!("w{n}"),
            "user.created",
            &format!("w{n}"),
            &format!("w{n}@example.com"),
            "W",
        );
        let answer = http
            .post(api.url("/v1/webhooks/posthog"))
            .json(&body)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
    }
    until("all runs ended or wait", async || {
        installation
            .count("SELECT count(*) FROM journey_states WHERE status = 'completed'")
            .await
            == 150
            && installation
                .count("SELECT count(*) FROM email_sends WHERE status = 'sent'")
                .await
                == 150
    })
    .await;
    assert_eq!(
        installation
            .count("SELECT count(*) FROM user_events WHERE name = 'journey.welcome_fired'")
            .await,
        150
    );
    assert_eq!(
        installation
            .count("SELECT count(*) FROM user_events WHERE name = 'journey.completed'")
            .await,
        150
    );
    assert_eq!(resend.accepted().len(), 150);
    let carried = |seen: Seen| seen.body.as_array().map_or(1, Vec::len);
    let attempted: usize = resend.seen().into_iter().map(carried).sum();
    assert_eq!(attempted, 150, "a mail was attempted twice");
    for worker in &mut workers {
        assert_eq!(worker.terminate(), Some(0));
    }
    let mut api = api;
    assert_eq!(api.terminate(), Some(0));
    installation.store.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_api_refuses_a_schema_that_is_behind_and_names_the_mend() {
    let installation = Installation::new(&[]).await;
    let output = std::process::Command::new(binary())
        .arg("api")
        .env_clear()
        .envs(
            installation
                .variables
                .iter()
                .map(|(name, value)| (name, value)),
        )
        .env("PORT", free_port().to_string())
        .current_dir(std::env::temp_dir())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        told.contains("0001_foundation") && told.contains("hogsend migrate"),
        "{told}"
    );
    installation.store.remove().await;
}

/// What a worker says of its health, where it answers.
async fn told(http: &reqwest::Client, port: u16) -> Option<String> {
    let url = format!("http://127.0.0.1:{port}/v1/health");
    let health: Value = http.get(url).send().await.ok()?.json().await.ok()?;
    health["status"].as_str().map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_waits_for_migrations_and_works_once_they_are_there() {
    let port = free_port();
    let installation = Installation::new(&[("HEALTH_PORT", &port.to_string())]).await;
    let http = hogsend::http_client::http_client();
    let mut worker = installation.start("worker");
    until("the worker says that it waits", async || {
        told(&http, port).await.as_deref() == Some("migration_pending")
    })
    .await;
    // Asked to stop, it waits no longer.
    assert_eq!(worker.terminate(), Some(0));
    let mut worker = installation.start("worker");
    until("the next worker waits as well", async || {
        told(&http, port).await.as_deref() == Some("migration_pending")
    })
    .await;
    installation.migrate();
    until("the worker works", async || {
        told(&http, port).await.as_deref() == Some("healthy")
    })
    .await;
    assert_eq!(worker.terminate(), Some(0));
    installation.store.remove().await;
}

#[test]
fn every_wrong_setting_is_told_at_once_with_its_fix_and_without_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let variables = [
        ("NODE_ENV", "production"),
        ("BETTER_AUTH_SECRET", "hunter2"),
        ("ADMIN_API_KEY", "hunter2-ключ"),
        ("PORT", "none"),
        ("API_PUBLIC_URL", "http://localhost:3002"),
        ("EMAIL_FROM", "foo"),
        // Two providers and no word which; one of them refuses its settings.
        ("RESEND_API_KEY", "re_hunter2"),
        ("SMTP_HOST", "smtp.acme.test"),
        ("SMTP_TLS", "ssl"),
        ("POSTHOG_HOST", "not a url"),
        ("ENABLED_JOURNEYS", "activation-welcom"),
        ("PLUGIN_DIR", "/no/such/folder"),
        ("DATABSE_URL", "postgres://a:hunter2@b/c"),
        ("RESEND_APIKEY", "hunter2"),
    ];
    let (code, told) = run(folder.path(), &["api"], &variables);
    assert_eq!(code, Some(78), "{told}");
    for expected in [
        "DATABASE_URL is required in production",
        "BETTER_AUTH_SECRET is shorter than 32 characters",
        "ADMIN_API_KEY has characters",
        "PORT is 'none'",
        "API_PUBLIC_URL begins with http://",
        "API_PUBLIC_URL names 'localhost'",
        "EMAIL_FROM is 'foo'",
        "EMAIL_PROVIDER is not set and several providers are configured: set it to one of resend, smtp",
        "SMTP_TLS is 'ssl': use starttls, implicit or none",
        "POSTHOG_HOST is not a URL",
        "PLUGIN-001 /no/such/folder",
        "DATABSE_URL is not a setting of Hogsend: did you mean DATABASE_URL?",
        "RESEND_APIKEY is not a setting of Hogsend: did you mean RESEND_API_KEY?",
    ] {
        assert!(told.contains(expected), "{expected} is not in {told}");
    }
    assert!(!told.contains("hunter2"), "{told}");
    // The folder of plugins is no longer in doubt: now the journey is unknown.
    let mut fixed = variables;
    fixed[11].1 = "";
    let (_, told) = run(folder.path(), &["worker"], &fixed);
    assert!(
        told.contains("'activation-welcom'") && told.contains("did you mean 'activation-welcome'?"),
        "{told}"
    );
}

#[test]
fn a_broken_env_file_is_told_with_everything_else_and_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let file = "PORT=none\nRESEND_API_KEY='re_hunter2 hunter2\nhunter2 hunter2\n";
    std::fs::write(folder.path().join(".env"), file).unwrap();
    for command in [
        &["dev"][..],
        &["migrate"],
        &["journeys", "list"],
        &["plugins", "list"],
    ] {
        let (code, told) = run(folder.path(), command, &[]);
        assert_eq!(code, Some(78), "{command:?}: {told}");
        assert!(
            told.contains(".env has a value of RESEND_API_KEY"),
            "{command:?}: {told}"
        );
        assert!(told.contains("PORT is 'none'"), "{command:?}: {told}");
        assert!(!told.contains("hunter2"), "{command:?}: {told}");
    }
}

#[test]
fn production_starts_with_what_the_table_requires_and_no_less() {
    let folder = tempfile::tempdir().unwrap();
    // Nobody listens at the database: whoever gets there has read every setting.
    let variables = [
        ("NODE_ENV", "production"),
        ("DATABASE_URL", "postgres://a:b@127.0.0.1:1/c"),
        (
            "BETTER_AUTH_SECRET",
            "dGhlIHNlY3JldCBvZiBhIHRlc3Qgb2YgYWxsLg==",
        ),
        ("API_PUBLIC_URL", "https://api.acme.test"),
        ("EMAIL_FROM", "Acme <hello@acme.test>"),
        ("RESEND_API_KEY", "re_1"),
    ];
    let (code, told) = run(folder.path(), &["api"], &variables);
    assert_eq!(code, Some(1), "{told}");
    for (missing, _) in variables.iter().skip(1) {
        let fewer = variables.iter().filter(|(name, _)| name != missing);
        let fewer: Vec<_> = fewer.copied().collect();
        let (code, told) = run(folder.path(), &["api"], &fewer);
        assert_eq!(code, Some(78), "without {missing}: {told}");
        assert!(
            told.contains("1 problem to fix") && told.contains(missing),
            "{told}"
        );
    }
}

/// `hogsend dev` with nothing but a data folder keeps what it accepted through `kill -9`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dev_on_the_embedded_database_survives_kill_9() {
    let data = tempfile::tempdir().unwrap();
    let variables = [
        ("HOGSEND_DATA_DIR", data.path().to_str().unwrap()),
        ("REDIS_URL", "redis://127.0.0.1:1"),
        ("WORKER_LEASE_SECONDS", "1"),
    ];
    let http = hogsend::http_client::http_client();
    let mut accepted = 0;
    for round in 0..5 {
        let mut dev = Process::start("dev", free_port(), &variables);
        until("dev answers", async || healthy(&http, &dev).await.is_some()).await;
        for n in 0..10 {
            let user = format!("u{round}-{n}");
            let body = posthog(
                &user,
                "user.created",
                &user,
                &format!("{user}@example.com"),
                "U",
            );
            let answer = http
                .post(dev.url("/v1/webhooks/posthog"))
                .json(&body)
                .send()
                .await
                .unwrap();
            assert_eq!(answer.status(), 200);
            accepted += 1;
        }
        tokio::time::sleep(Duration::from_millis(40 * round)).await;
        dev.kill();
    }
    let dev = Process::start("dev", free_port(), &variables);
    let outbox = data.path().join("outbox");
    let files = || std::fs::read_dir(&outbox).map_or(0, Iterator::count);
    until("dev answers", async || healthy(&http, &dev).await.is_some()).await;
    until("every accepted event led to its mail", async || {
        let page = http
            .get(dev.url("/outbox"))
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        page.matches("<span class=\"tag\">sent").count() == accepted
    })
    .await;
    assert_eq!(files(), accepted);
}
