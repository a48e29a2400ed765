//! The store: every query of the host, one file per noun. Functions take a connection, so the
//! calling module decides what shares a transaction.
//!
//! Locks are taken in one order everywhere (see [`Level`]): names, event keys, contacts by id, runs
//! and mails, providers. The embedded database has a single connection, so code never holds one
//! while it asks for another.

mod account;
mod contact;
mod event;
mod lock;
mod mail;
mod outbound;
mod pause;
mod report;
mod run;
mod server;
mod stored;
mod transact;
mod wake;

pub use account::*;
pub use contact::*;
pub use event::*;
pub use lock::Level;
pub use mail::*;
pub use outbound::*;
pub use pause::*;
pub use report::*;
pub use run::*;
pub use server::*;
pub use transact::{
    Failure, Patience, Tx, in_doubt, may_be_committed, not_committed, stir, transaction_id,
};
pub use wake::{Topic, Wake};

use std::error::Error as _;
use std::path::Path;
#[cfg(feature = "embedded-db")]
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Executor as _, PgConnection, PgPool, Postgres};

use crate::telemetry::metrics::DATABASE_WAIT;

/// A connection, in or outside a transaction.
pub type Conn = PgConnection;
/// A connection on loan from the pool.
pub type PoolConn = sqlx::pool::PoolConnection<Postgres>;

pub type Result<T> = std::result::Result<T, sqlx::Error>;

/// Lists have optional filters, so a generic plan is far slower than a custom one. The timeout is
/// below that of a request, so that the caller still gets an error answer.
const BEGIN_REPORT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; \
     SET LOCAL plan_cache_mode = force_custom_plan; \
     SET LOCAL statement_timeout = '25s'";

/// Default timeout of a statement: far longer than any healthy one takes.
const SESSION: &str = "SET statement_timeout = '60s'";

/// The database, and the wake-ups that come with it. Cheap to clone.
#[derive(Clone)]
pub struct Db {
    pool: PgPool,
    wake: Wake,
    outbox: run::Outbox,
    embedded: bool,
    #[cfg(feature = "embedded-db")]
    server: Arc<Mutex<Option<server::Embedded>>>,
}

impl Db {
    /// Opens a pool on a Postgres server. Checks the server first, so that a wrong URL or an
    /// unusable database is reported at start, with the fix. `migrating` also requires the right to
    /// create tables.
    pub async fn open(
        url: &SecretString,
        max_connections: u32,
        migrating: bool,
    ) -> anyhow::Result<Self> {
        let options: PgConnectOptions = url.expose_secret().parse().map_err(|error| {
            // It may quote the URL.
            let _: sqlx::Error = error;
            anyhow::anyhow!(
                "DATABASE_URL is not a Postgres URL: expected postgres://user:password@host/database"
            )
        })?;
        server::examine(&options, migrating)
            .await
            .map_err(|unusable| {
                tracing::debug!(
                    error = unusable.source().map(tracing::field::display),
                    "the database cannot be used"
                );
                anyhow::anyhow!("{unusable}")
            })?;
        Ok(Self::connect(url, max_connections).await?)
    }

    /// Opens a pool on a Postgres server without checking it.
    pub async fn connect(url: &SecretString, max_connections: u32) -> Result<Self> {
        let options: PgConnectOptions = url.expose_secret().parse()?;
        let pool = PgPoolOptions::new()
            .max_connections(max_connections)
            .acquire_timeout(Duration::from_secs(10))
            .after_connect(|conn, _| {
                Box::pin(async move {
                    conn.execute(SESSION).await?;
                    Ok(())
                })
            })
            .connect_with(options.application_name("hogsend"))
            .await?;
        Ok(Self {
            wake: Wake::listening(pool.clone()),
            outbox: run::Outbox::default(),
            pool,
            embedded: false,
            #[cfg(feature = "embedded-db")]
            server: Arc::default(),
        })
    }

    /// Starts the database inside the binary on the data in `folder`, which it creates if needed.
    #[cfg(feature = "embedded-db")]
    pub async fn embedded(folder: &Path) -> anyhow::Result<Self> {
        let (pool, server) = server::open(folder).await?;
        Ok(Self {
            pool,
            wake: Wake::in_process(),
            outbox: run::Outbox::default(),
            embedded: true,
            server: Arc::new(Mutex::new(Some(server))),
        })
    }

    #[cfg(not(feature = "embedded-db"))]
    pub async fn embedded(_folder: &Path) -> anyhow::Result<Self> {
        anyhow::bail!(
            "this build has no embedded database (feature `embedded-db`): set DATABASE_URL to a \
             Postgres"
        )
    }

    /// Whether this is the embedded database: one connection at a time, one process.
    pub fn is_embedded(&self) -> bool {
        self.embedded
    }

    /// A connection for single statements.
    pub async fn conn(&self) -> Result<PoolConn> {
        let asked = Instant::now();
        let conn = self.pool.acquire().await;
        DATABASE_WAIT.took(&[], asked.elapsed());
        conn
    }

    /// How many connections this process has open, and how many of them nobody uses.
    pub fn connections(&self) -> (u32, u32) {
        let idle = u32::try_from(self.pool.num_idle()).unwrap_or(u32::MAX);
        (self.pool.size(), idle)
    }

    /// A transaction for lists and reports. All its statements see the same snapshot, each is
    /// planned for its own values, and the server cancels one that takes longer than 25 s.
    pub async fn report(&self) -> Result<Tx> {
        self.pool.begin_with(BEGIN_REPORT).await.map(Tx::new)
    }

    pub fn wake(&self) -> &Wake {
        &self.wake
    }

    /// Closes every connection, and stops the embedded database.
    pub async fn close(&self) {
        self.pool.close().await;
        #[cfg(feature = "embedded-db")]
        {
            let server = self
                .server
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
            if let Some(server) = server {
                let stopped = tokio::task::spawn_blocking(move || server.stop()).await;
                if let Ok(Err(error)) = stopped {
                    tracing::warn!(%error, "the embedded database did not stop cleanly");
                }
            }
        }
    }
}

/// Whether running the same transaction again may succeed (SQLSTATE class 40).
pub fn is_transient(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    matches!(code.as_deref(), Some("40001" | "40P01")) || transact::is_moved(error)
}

/// Whether the server cancelled a statement that exceeded its timeout (SQLSTATE 57014).
pub fn is_overdue(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.as_deref() == Some("57014")
}

/// Whether the database's disk is full.
pub fn is_full(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| code == "53100")
}

/// Whether a table or column does not exist: a migration is pending (SQLSTATE 42P01, 42703).
pub fn is_missing(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    matches!(code.as_deref(), Some("42P01" | "42703"))
}

/// Whether the database could not be reached at all.
pub fn is_unavailable(error: &sqlx::Error) -> bool {
    match error {
        error if may_be_committed(error) => true,
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::Protocol(_) => true,
        // Class 57: the operator stopped the server; 53: it is out of resources; 58: its files
        // cannot be read or written; 08: the connection is gone.
        error => error
            .as_database_error()
            .and_then(|error| error.code())
            .is_some_and(|code| ["57", "53", "58", "08"].contains(&&code[..2.min(code.len())])),
    }
}
