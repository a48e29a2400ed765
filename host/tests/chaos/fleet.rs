//! The processes under test and their database.

use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::people::{Load, Person};
use crate::plan::Plan;
use crate::provider::Provider;

/// The administrator's key of the run.
pub const KEY: &str = "hsk_chaos_Zx81kQpV7nL2mTg5RwYb";
/// The shortest lease allowed: a killed worker's claims are due again after it.
const LEASE: &str = "20";
/// How long the system may make no progress before the test fails.
const QUIET: Duration = Duration::from_secs(180);

pub struct Fleet {
    api: Mutex<Child>,
    worker: Mutex<Child>,
    port: u16,
    variables: Vec<(&'static str, String)>,
    admin_url: String,
    name: String,
    pub database_url: String,
    _data: tempfile::TempDir,
}

impl Fleet {
    /// Creates and migrates a database and starts both processes.
    pub async fn start(plan: &Plan, provider: &Provider) -> Self {
        let admin_url = std::env::var("HOGSEND_TEST_DATABASE_URL").expect(
            "HOGSEND_TEST_DATABASE_URL is not set: run `cargo xtask chaos`, which starts a Postgres",
        );
        let name = format!("chaos_{}", uuid::Uuid::new_v4().simple());
        let mut admin = PgConnection::connect(&admin_url).await.unwrap();
        let create = AssertSqlSafe(format!("CREATE DATABASE {name}"));
        sqlx::query(create).execute(&mut admin).await.unwrap();
        let (server, _) = admin_url.rsplit_once('/').unwrap();
        let database_url = format!("{server}/{name}");
        let data = tempfile::tempdir().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .unwrap()
            .port();
        let mut variables = provider.variables();
        variables.extend([
            ("DATABASE_URL", database_url.clone()),
            ("REDIS_URL", "off".into()),
            ("HOGSEND_DATA_DIR", data.path().display().to_string()),
            (
                "BETTER_AUTH_SECRET",
                format!("chaos {} of a length that does", plan.seed),
            ),
            ("ADMIN_API_KEY", KEY.into()),
            ("EMAIL_FROM", "Acme <hello@acme.test>".into()),
            ("EMAIL_POSTAL_ADDRESS", "1 Main Street, Springfield".into()),
            ("WORKER_LEASE_SECONDS", LEASE.into()),
            ("PORT", port.to_string()),
            ("HOST", "127.0.0.1".into()),
            // Administrators are rate-limited.
            ("RATE_LIMIT_ADMIN", "0".into()),
        ]);
        let migrated = command("migrate", &variables).status().unwrap();
        assert!(migrated.success(), "the database could not be migrated");
        Self {
            api: Mutex::new(command("api", &variables).spawn().unwrap()),
            worker: Mutex::new(command("worker", &variables).spawn().unwrap()),
            port,
            variables,
            admin_url,
            name,
            database_url,
            _data: data,
        }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Kills and restarts one process after the other until everybody has signed up. Returns the
    /// people and the number of kills.
    pub async fn kill_until(&self, plan: &Plan, load: Load) -> (Vec<Person>, usize) {
        let mut rng = StdRng::seed_from_u64(plan.seed ^ 0x6b69_6c6c);
        let mut kills = 0;
        while !load.progress.is_over() && !load.people.is_finished() {
            let lives = Duration::from_millis(rng.random_range(150..1_500));
            let victim = rng.random_range(0..3);
            tokio::time::sleep(lives).await;
            let (process, name) = match victim {
                0 => (&self.api, "api"),
                _ => (&self.worker, "worker"),
            };
            let mut process = process.lock().unwrap();
            let _ = process.kill();
            let _ = process.wait();
            *process = command(name, &self.variables).spawn().unwrap();
            kills += 1;
        }
        (load.people.await.expect("the load itself failed"), kills)
    }

    /// Waits until nothing is due.
    pub async fn settle(&self) {
        let mut conn = PgConnection::connect(&self.database_url).await.unwrap();
        let (mut last, mut since) = (-1, Instant::now());
        loop {
            let open: i64 = sqlx::query_scalar(
                "SELECT (SELECT count(*) FROM email_sends WHERE status IN ('queued', 'sending'))
                      + (SELECT count(*) FROM journey_states WHERE status = 'active')",
            )
            .fetch_one(&mut conn)
            .await
            .unwrap();
            if open == 0 {
                return;
            }
            if open != last {
                (last, since) = (open, Instant::now());
            }
            assert!(since.elapsed() < QUIET, "{open} mails and runs do not end");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Stops both and removes the database.
    pub async fn end(self) {
        for process in [&self.api, &self.worker] {
            let mut process = process.lock().unwrap();
            let _ = process.kill();
            let _ = process.wait();
        }
        let mut admin = PgConnection::connect(&self.admin_url).await.unwrap();
        let drop = AssertSqlSafe(format!(
            "DROP DATABASE IF EXISTS {} WITH (FORCE)",
            self.name
        ));
        sqlx::query(drop).execute(&mut admin).await.unwrap();
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for process in [&self.api, &self.worker] {
            if let Ok(mut process) = process.lock() {
                let _ = process.kill();
            }
        }
    }
}

/// `hogsend <name>` with these environment variables only.
fn command(name: &str, variables: &[(&'static str, String)]) -> Command {
    let log = std::env::var_os("HOGSEND_TEST_LOG").is_some();
    let output = || {
        if log { Stdio::inherit() } else { Stdio::null() }
    };
    let mut command = Command::new(env!("CARGO_BIN_EXE_hogsend"));
    command
        .arg(name)
        .env_clear()
        .env("PATH", std::env::var("PATH").unwrap_or_default())
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .current_dir(std::env::temp_dir())
        .stdin(Stdio::null())
        .stdout(output())
        .stderr(output());
    command
}
