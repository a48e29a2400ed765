//! What operators see: metrics, traces and logs.

use std::path::{Path, PathBuf};

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use hogsend::telemetry::metrics;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::Value;

use crate::support::collector::{Collector, Exported};
use crate::support::process::{Process, free_port, until};
use crate::support::resend::Resend;
use crate::support::{Server, Store, posthog};

const TOKEN: &str = "5mG3kq8ZsT1vX9bN4cR7wY2eU6h";
const SECRET: &str = "q8ZsT1vX9bN4cR7wY2eU6hJ5mG3kL0pD";
const HOOK: &str = "x9bN4cR7wY2eU6h5mG3kq8ZsT1v";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// An API and a worker in production, each with a file for its log.
struct Installation {
    store: Store,
    resend: Resend,
    collector: Collector,
    variables: Vec<(&'static str, String)>,
    data: tempfile::TempDir,
}

impl Installation {
    async fn new() -> Self {
        let (store, resend) = (Store::native().await, Resend::start().await);
        let (collector, data) = (Collector::start().await, tempfile::tempdir().unwrap());
        let variables = vec![
            ("NODE_ENV", "production".to_owned()),
            ("LOG_LEVEL", "debug".to_owned()),
            ("DATABASE_URL", store.url().to_owned()),
            ("REDIS_URL", "off".to_owned()),
            ("HOGSEND_DATA_DIR", data.path().to_str().unwrap().to_owned()),
            ("BETTER_AUTH_SECRET", SECRET.to_owned()),
            ("API_PUBLIC_URL", "https://api.acme.test".to_owned()),
            ("EMAIL_FROM", "Acme <hello@acme.test>".to_owned()),
            ("EMAIL_POSTAL_ADDRESS", "1 Main Street".to_owned()),
            ("EMAIL_PROVIDER", "resend".to_owned()),
            ("RESEND_API_KEY", Resend::KEY.to_owned()),
            ("RESEND_BASE_URL", resend.url()),
            ("POSTHOG_WEBHOOK_SECRET", HOOK.to_owned()),
            ("METRICS_TOKEN", TOKEN.to_owned()),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url().to_owned()),
            ("OTEL_EXPORTER_OTLP_HEADERS", format!("x-key={TOKEN}")),
        ];
        Self {
            store,
            resend,
            collector,
            variables,
            data,
        }
    }

    fn log(&self, command: &str) -> PathBuf {
        self.data.path().join(format!("{command}.log"))
    }

    fn start(&self, command: &str, more: &[(&'static str, String)]) -> Process {
        let variables: Vec<(&str, &str)> = self
            .variables
            .iter()
            .chain(more)
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        Process::start_logged(command, free_port(), &variables, &self.log(command))
    }

    async fn text(&self, sql: &'static str) -> String {
        let mut conn = self.store.db().conn().await.unwrap();
        sqlx::query_scalar(sql).fetch_one(&mut *conn).await.unwrap()
    }

    async fn count(&self, sql: &'static str) -> i64 {
        let mut conn = self.store.db().conn().await.unwrap();
        sqlx::query_scalar(sql).fetch_one(&mut *conn).await.unwrap()
    }
}

fn named<'a>(spans: &'a [Exported], name: &str, trace: &str) -> Vec<&'a Exported> {
    let found = spans
        .iter()
        .filter(|one| one.span.name == name && one.trace() == trace);
    found.collect()
}

/// The names of a span and of those it is below, up to one whose parent is not in this trace's spans, and that parent.
fn ancestors(spans: &[Exported], of: &Exported) -> (Vec<String>, String) {
    let mut names = vec![of.span.name.clone()];
    let mut parent = of.span.parent_span_id.clone();
    while let Some(above) = spans
        .iter()
        .find(|one| one.span.span_id == parent && one.span.trace_id == of.span.trace_id)
    {
        names.push(above.span.name.clone());
        parent.clone_from(&above.span.parent_span_id);
    }
    (names, hex::encode(parent))
}

fn lines(log: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(log).unwrap();
    let parse = |line| serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"));
    text.lines().map(parse).collect()
}

/// A field of a line or of one of its spans.
fn field<'a>(line: &'a Value, name: &str) -> Option<&'a str> {
    let spans = line["spans"].as_array().into_iter().flatten();
    std::iter::once(line)
        .chain(spans)
        .find_map(|one| one[name].as_str())
}

async fn metrics_of(http: &reqwest::Client, url: String, token: &str) -> (u16, String) {
    let answer = http.get(url).bearer_auth(token).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_trace_follows_an_event_from_the_webhook_to_the_providers_answer() {
    let own = Installation::new().await;
    assert_eq!(own.start("migrate", &[]).wait(), Some(0));
    let mut api = own.start("api", &[]);
    let health = free_port();
    let mut worker = own.start("worker", &[("HEALTH_PORT", health.to_string())]);
    let http = hogsend::http_client::http_client();
    until("the API answers", async || {
        let ready = http.get(api.url("/v1/health/ready")).send().await;
        ready.is_ok_and(|answer| answer.status() == 200)
    })
    .await;
    let body = posthog(
        "0190-a",
        "user.created",
        "u-1",
        "ann@example.com",
        "Annabella",
    );
    let answer = http
        .post(api.url("/v1/webhooks/posthog"))
        .header("x-posthog-webhook-secret", HOOK)
        .header("traceparent", format!("00-{TRACE}-{CALLER}-01"))
        .header("x-request-id", "request-of-the-test")
        .json(&body)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    until("the mail is sent and the run waits", async || {
        own.count("SELECT count(*) FROM email_sends WHERE status = 'sent'").await == 1
            && own
                .count("SELECT count(*) FROM journey_states WHERE status = 'waiting' AND claim IS NULL")
                .await
                == 1
    })
    .await;

    assert_eq!(own.resend.accepted().len(), 1);

    // After a long wait the run begins a trace of its own.
    let before = own.text("SELECT traceparent FROM journey_states").await;
    assert_eq!(&before[3..35], TRACE);
    own.count(
        "WITH woken AS (UPDATE journey_states SET wake_at = now(), updated_at = now() - interval '2 days' RETURNING 1)
         SELECT count(*) FROM woken",
    )
    .await;
    until("the run was advanced again", async || {
        own.text("SELECT traceparent FROM journey_states").await != before
    })
    .await;

    // The metrics of both processes.
    let (status, _) = metrics_of(&http, api.url("/metrics"), "another token").await;
    assert_eq!(status, 401);
    let (status, text) = metrics_of(&http, api.url("/metrics"), TOKEN).await;
    assert_eq!(status, 200);
    let has = |text: &str, line: &str| {
        assert!(text.lines().any(|one| one == line), "no {line} in\n{text}");
    };
    has(
        &text,
        r#"hogsend_http_requests_total{method="POST",route="/v1/webhooks/{source}",status="200"} 1"#,
    );
    has(
        &text,
        r#"hogsend_ingest_events_total{source="posthog",outcome="stored"} 1"#,
    );
    has(
        &text,
        r#"hogsend_runs_begun_total{journey="activation-welcome"} 1"#,
    );
    has(
        &text,
        r#"hogsend_runs{journey="activation-welcome",state="waiting"} 1"#,
    );
    has(&text, r#"hogsend_workers 1"#);
    has(&text, r#"hogsend_engine_up{engine="embedded"} 1"#);
    has(&text, "hogsend_database_up 1");
    let open = format!("http://127.0.0.1:{health}/metrics");
    let (status, text) = metrics_of(&http, open, "").await;
    assert_eq!(status, 200);
    has(
        &text,
        r#"hogsend_mail_attempts_total{provider="resend",outcome="accepted"} 1"#,
    );
    has(&text, r#"hogsend_provider_up{provider="resend"} 1"#);
    has(&text, r#"hogsend_queue_due{kind="mails"} 0"#);
    has(
        &text,
        r#"hogsend_plugin_http_requests_total{plugin="resend",outcome="2xx"} 1"#,
    );
    let both = [api.terminate(), worker.terminate()];
    assert_eq!(both, [Some(0); 2]);

    // The trace: every span of the way, below the caller's.
    let spans = own.collector.spans();
    assert_eq!(own.collector.header("x-key").as_deref(), Some(TOKEN));
    let [request] = named(&spans, "POST /v1/webhooks/{source}", TRACE)[..] else {
        panic!("no span of the request in {spans:#?}");
    };
    assert_eq!(request.service, "hogsend-api");
    assert_eq!(request.span.kind, SpanKind::Server as i32);
    assert_eq!(
        request.attribute("request_id").as_deref(),
        Some("request-of-the-test")
    );
    assert_eq!(
        request.attribute("http.response.status_code").as_deref(),
        Some("200")
    );
    let (send, run) = (
        own.text("SELECT id::text FROM email_sends").await,
        own.text("SELECT id::text FROM journey_states").await,
    );
    let [attempt] = named(&spans, "attempt", TRACE)[..] else {
        panic!("no span of the attempt in {spans:#?}");
    };
    assert_eq!(attempt.service, "hogsend-worker");
    assert_eq!(attempt.attribute("email_id").as_deref(), Some(&*send));
    assert_eq!(attempt.attribute("run_id").as_deref(), Some(&*run));
    assert_eq!(attempt.attribute("outcome").as_deref(), Some("accepted"));
    let way = [
        "attempt",
        "advance",
        "enrol",
        "ingest",
        "POST /v1/webhooks/{source}",
    ];
    let way = way.map(str::to_owned).to_vec();
    assert_eq!(ancestors(&spans, attempt), (way, CALLER.to_owned()));
    assert_eq!(named(&spans, "compose", TRACE).len(), 1);
    let asked: Vec<_> = named(&spans, "POST", TRACE);
    assert_eq!(asked.len(), 1, "the request to the provider");
    assert_eq!(asked[0].span.kind, SpanKind::Client as i32);
    let methods: Vec<_> = named(&spans, "plugin_call", TRACE)
        .iter()
        .filter_map(|one| one.attribute("method"))
        .collect();
    for method in ["event_source.read", "journeys.advance", "delivery.send"] {
        assert!(
            methods.iter().any(|one| one == method),
            "no {method} in {methods:?}"
        );
    }
    let later: Vec<_> = spans
        .iter()
        .filter(|one| one.span.name == "advance" && one.trace() != TRACE)
        .collect();
    assert_eq!(later.len(), 1, "the advance after the wait");
    assert!(later[0].span.parent_span_id.is_empty());
    assert_eq!(hex::encode(&later[0].span.links[0].trace_id), TRACE);
    let after = own.text("SELECT traceparent FROM journey_states").await;
    assert_eq!(after[3..35], later[0].trace());

    // The logs: every line of a request, a run or a mail has its ids.
    let (of_api, of_worker) = (lines(&own.log("api")), lines(&own.log("worker")));
    let access = of_api.iter().find(|line| {
        line["message"] == "answered a request" && field(line, "method") == Some("POST")
    });
    let access = access.expect("a line of the access log");
    assert_eq!(field(access, "request_id"), Some("request-of-the-test"));
    assert_eq!(field(access, "route"), Some("/v1/webhooks/{source}"));
    let calls: Vec<_> = of_worker
        .iter()
        .filter(|line| line["message"] == "calling a plugin" && line["what"] == "run")
        .collect();
    assert!(!calls.is_empty());
    for call in calls {
        assert_eq!(field(call, "run_id"), Some(&*run), "{call}");
        assert_eq!(field(call, "journey"), Some("activation-welcome"), "{call}");
    }
    let sent = of_worker.iter().find(|line| {
        line["message"] == "performed a plugin's request" && line["plugin"] == "resend"
    });
    assert_eq!(
        field(sent.expect("a line of the request"), "email_id"),
        Some(&*send)
    );

    // Nothing of it names the person or holds a secret or a part of the mail.
    let logs =
        [&own.log("api"), &own.log("worker")].map(|log| std::fs::read_to_string(log).unwrap());
    let exported = format!("{spans:?}");
    for told in [&logs[0], &logs[1], &exported] {
        for secret in [
            "ann@example.com",
            "example.com",
            "Annabella",
            TOKEN,
            SECRET,
            HOOK,
            Resend::KEY,
            "<html",
            "hello@acme.test",
        ] {
            assert!(!told.contains(secret), "{secret} is told");
        }
    }
    own.store.remove().await;
}

async fn scrape(server: &Server, token: &str) -> (StatusCode, String) {
    let request = Request::get("/metrics")
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .body(Body::empty());
    let answer = server.request(request.unwrap()).await;
    (answer.status, answer.text())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scrape_is_answered_while_the_database_is_away() {
    metrics::install();
    let without = Server::start(Store::native().await).await;
    assert_eq!(scrape(&without, TOKEN).await.0, StatusCode::NOT_FOUND);
    without.stop().await;

    let server = Server::with(Store::native().await, &[("METRICS_TOKEN", TOKEN)]).await;
    assert_eq!(scrape(&server, "").await.0, StatusCode::UNAUTHORIZED);
    let (status, text) = scrape(&server, TOKEN).await;
    assert_eq!(status, StatusCode::OK);
    assert!(text.contains("hogsend_database_up 1"), "{text}");
    assert!(
        text.contains("hogsend_queue_due{kind=\"captures\"} 0"),
        "{text}"
    );

    let away = Server::with(server.share(), &[("METRICS_TOKEN", TOKEN)]).await;
    away.app.db.close().await;
    let (status, text) = scrape(&away, TOKEN).await;
    assert_eq!(status, StatusCode::OK);
    assert!(text.contains("hogsend_database_up 0"), "{text}");
    assert!(
        text.contains("hogsend_queue_due{kind=\"captures\"} NaN"),
        "{text}"
    );
    assert!(text.contains("# TYPE hogsend_build_info gauge"), "{text}");
    server.stop().await;
}
