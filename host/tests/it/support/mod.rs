//! One server a test, each with a database of its own.
//!
//! With `HOGSEND_TEST_ENGINE=hatchet` the runs of servers are woken by Hatchet's stand-in: [`Server::drain`] then starts a
//! worker, waits until it has done all that is due, and stops it. `cargo xtask long` runs the tests of journeys so.

pub mod admin;
pub mod brevo;
pub mod collector;
pub mod contract;
pub mod crash_plugin;
pub mod https;
pub mod journeys_plugin;
pub mod mailgun;
pub mod outside;
pub mod posthog_api;
pub mod process;
pub mod receiver;
pub mod resend;
pub mod rig;
pub mod sendgrid;
pub mod ses;
pub mod smtp;
pub mod source_plugin;
pub mod steps_plugin;
pub mod store;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use chrono::{DateTime, Utc};
use hogsend::app::{App, Parts};
use hogsend::cache::Cache;
use hogsend::clock::Clock;
use hogsend::config::{Config, Mode};
use hogsend::crew::Crew;
use hogsend::http_client::http_client;
use hogsend::installed::{Installation, Reloaded};
use hogsend::plugins::Performer;
use hogsend::{db, worker};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

pub use store::Store;

use outside::Outside;

/// What the clocks of tests show at first.
pub const BEGINNING: &str = "2026-03-02T09:00:00Z";

/// How much a test does: `short` with each change, `long` with `HOGSEND_TEST_LONG=1`, which `cargo xtask long` sets.
pub fn amount(short: usize, long: usize) -> usize {
    let all = std::env::var("HOGSEND_TEST_LONG").is_ok_and(|set| set == "1");
    if all { long } else { short }
}

/// Runs a test on a real Postgres and once more on the embedded one.
#[macro_export]
macro_rules! on_each_store {
    ($(#[$doc:meta])* async fn $name:ident($server:ident: Server) $body:block) => {
        mod $name {
            use super::*;

            async fn claim($server: Server) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn native() {
                claim($crate::support::Server::start($crate::support::Store::native().await).await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn embedded() {
                claim($crate::support::Server::start($crate::support::Store::embedded().await).await).await;
            }
        }
    };
}

/// A server in this process whose clock stands still until a test moves it.
pub struct Server {
    pub app: App,
    pub clock: Clock,
    installation: Installation,
    router: Router,
    /// Stores the events of requests.
    _crew: Crew,
    _data: tempfile::TempDir,
    store: Store,
    /// The engine that wakes its runs, where that is not the embedded one.
    outside: Option<Arc<Outside>>,
}

impl Server {
    pub async fn start(store: Store) -> Self {
        Self::with(store, &[]).await
    }

    /// A server with these environment variables, and with the engine with which the tests run.
    pub async fn with(store: Store, variables: &[(&str, &str)]) -> Self {
        let outside = match std::env::var("HOGSEND_TEST_ENGINE").as_deref() {
            Ok("hatchet") => Some(Arc::new(Outside::start(BEGINNING.parse().unwrap()).await)),
            Ok(other) => panic!("HOGSEND_TEST_ENGINE is '{other}': it can be hatchet"),
            Err(_) => None,
        };
        Self::on(store, variables, outside).await
    }

    /// A server with these environment variables, whose runs this engine wakes; None for the embedded one.
    pub async fn on(
        store: Store,
        variables: &[(&str, &str)],
        outside: Option<Arc<Outside>>,
    ) -> Self {
        let data = tempfile::tempdir().unwrap();
        let data_dir = data.path().to_str().unwrap().to_owned();
        let mut all: BTreeMap<String, String> = BTreeMap::from([
            ("HOGSEND_DATA_DIR".into(), data_dir),
            (
                "BETTER_AUTH_SECRET".into(),
                "a secret of tests, long enough for all".into(),
            ),
            // Nobody listens there: the host has to do without a cache.
            ("REDIS_URL".into(), "redis://127.0.0.1:1".into()),
            ("EMAIL_FROM".into(), "Acme <hello@acme.test>".into()),
            (
                "EMAIL_POSTAL_ADDRESS".into(),
                "1 Main Street, Springfield".into(),
            ),
        ]);
        all.extend(
            variables
                .iter()
                .map(|(name, value)| ((*name).into(), (*value).into())),
        );
        if let Some(outside) = &outside {
            let own = outside.engine.variables().into_iter();
            all.extend(own.map(|(name, value)| (name.into(), value)));
        }
        if all.get("NODE_ENV").is_some_and(|name| name == "production") {
            let url = || "https://api.acme.test".to_owned();
            all.entry("API_PUBLIC_URL".into()).or_insert_with(url);
        }
        let lookup = {
            let all = all.clone();
            move |name: &str| all.get(name).cloned()
        };
        let mut config = Config::load(&lookup, Mode::Dev).unwrap();
        let clock = match all.get("HOGSEND_TEST_CLOCK") {
            Some(text) => Clock::parse(text).unwrap(),
            None => Clock::manual(BEGINNING.parse().unwrap()),
        };
        let cache = Arc::new(Cache::connect(config.redis_url.as_deref(), clock.clone()));
        let performer = Performer::new(http_client(), cache.clone(), config.data_dir.clone());
        let installation = Installation::new(lookup, performer, clock.clone());
        let installation = installation.with_program(process::binary());
        let read = installation.read(&config).await;
        assert!(read.problems.is_empty(), "{}", read.problems[0]);
        config.senders = read.settings.senders;
        let db = store.db().clone();
        db::migrate(&db).await.unwrap();
        let parts = Parts {
            config,
            clock: clock.clone(),
            db,
            installed: read.snapshot,
            cache,
        };
        let app = App::new(parts);
        let mut crew = Crew::new(CancellationToken::new());
        app.ingestor.start(&mut crew);
        Self {
            _crew: crew,
            router: hogsend::http::router(app.clone()),
            app,
            clock,
            installation,
            _data: data,
            store,
            outside,
        }
    }

    /// Reads the plugins and templates again, as SIGHUP does.
    pub async fn reload(&self) -> Reloaded {
        hogsend::cli::reload(&self.app, &self.installation).await
    }

    /// How many libraries this server has opened.
    pub fn libraries(&self) -> usize {
        self.installation.libraries().count()
    }

    /// Another replica: a server of its own on the same database.
    pub async fn replica(&self, variables: &[(&str, &str)]) -> Self {
        Self::on(self.store.share(), variables, self.outside.clone()).await
    }

    /// The same database, for a server with other settings altogether.
    pub fn share(&self) -> Store {
        self.store.share()
    }

    /// For a process of its own to connect to.
    pub fn database_url(&self) -> &str {
        self.store.url()
    }

    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// Brings the clock to the machine's, for workers in processes of their own.
    pub fn use_wall_clock(&self) {
        let ahead = Clock::system().now() - self.clock.now();
        self.clock
            .advance(ahead.to_std().expect("the tests' time is in the past"));
    }

    /// Moves the clock and lets the worker do what has become due.
    pub async fn advance(&self, by: Duration) {
        self.clock.advance(by);
        self.drain().await;
    }

    /// Lets the worker do all that is due now.
    pub async fn drain(&self) {
        match &self.outside {
            None => {
                worker::drain(&self.app).await.unwrap();
            }
            Some(outside) => outside.drain(self).await,
        }
    }

    pub async fn request(&self, request: Request<Body>) -> Answer {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let headers = response.headers().clone();
        let body = axum::body::to_bytes(response.into_body(), usize::MAX)
            .await
            .unwrap();
        let answer = Answer {
            status,
            headers,
            body: body.to_vec(),
        };
        contract::check(&method, &path, &answer);
        answer
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.request(Request::get(path).body(Body::empty()).unwrap())
            .await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.post_raw(path, body.to_string().into_bytes()).await
    }

    /// A request with a key and perhaps a JSON body.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        key: &str,
        body: Option<&Value>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if !key.is_empty() {
            request = request.header(header::AUTHORIZATION, format!("Bearer {key}"));
        }
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        self.request(request.body(Body::from(body)).unwrap()).await
    }

    /// Posts bytes that claim to be JSON.
    pub async fn post_raw(&self, path: &str, body: Vec<u8>) -> Answer {
        let request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(header::CONTENT_TYPE, "application/json");
        self.request(request.body(Body::from(body)).unwrap()).await
    }

    /// One number from the database.
    pub async fn count(&self, sql: &'static str) -> i64 {
        let mut conn = self.app.db.conn().await.unwrap();
        sqlx::query_scalar(sql).fetch_one(&mut *conn).await.unwrap()
    }

    /// One text from the database; empty where there is no row or it is null.
    pub async fn text(&self, sql: &'static str) -> String {
        let mut conn = self.app.db.conn().await.unwrap();
        let found: Option<Option<String>> = sqlx::query_scalar(sql)
            .fetch_optional(&mut *conn)
            .await
            .unwrap();
        found.flatten().unwrap_or_default()
    }

    pub async fn run_sql(&self, sql: impl Into<String>) {
        let mut conn = self.app.db.conn().await.unwrap();
        let sql = sqlx::AssertSqlSafe(sql.into());
        sqlx::query(sql).execute(&mut *conn).await.unwrap();
    }

    /// Ends the server and its database.
    pub async fn stop(self) {
        self.app.db.close().await;
        self.store.remove().await;
    }
}

/// What came back.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A webhook as PostHog's destination sends it by default.
pub fn posthog(uuid: &str, event: &str, user: &str, email: &str, name: &str) -> Value {
    serde_json::json!({
        "event": {
            "uuid": uuid, "event": event, "distinct_id": user,
            "url": "https://us.posthog.com/project/1/events/x", "elements_chain": "",
            "properties": { "$lib": "web", "plan": "pro" }
        },
        "person": {
            "id": format!("person-of-{user}"), "name": name, "url": "https://us.posthog.com/person/x",
            "properties": { "email": email, "name": name, "first_name": name }
        },
        "project": { "id": 1, "name": "Acme", "url": "https://us.posthog.com/project/1" }
    })
}
