//! The database inside the binary: Postgres compiled to WebAssembly, in a folder of its own.
//!
//! It runs with `fsync` off, the default of pglite-oxide: what was committed survives the end of
//! the process, `kill -9` included, but not a power cut. With `fsync` on it cannot recover after a
//! kill, because the WebAssembly runtime refuses to sync a folder.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use pglite_oxide::PgliteServer;
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};

use crate::private;

/// The user and the database that every Postgres cluster starts with.
const USER: &str = "postgres";

/// A running embedded database.
pub(in crate::db) struct Embedded {
    server: PgliteServer,
    socket_dir: PathBuf,
    /// Held so that a second process cannot open, and corrupt, the same folder.
    _lock: File,
}

impl Embedded {
    /// Stops the server. Every connection must be closed before.
    pub fn stop(self) -> anyhow::Result<()> {
        let stopped = self.server.shutdown();
        // An empty folder left behind does no harm.
        let _ = fs::remove_dir_all(&self.socket_dir);
        stopped
    }
}

/// Opens the database in `folder`, creating it if needed.
pub(in crate::db) async fn open(folder: &Path) -> anyhow::Result<(PgPool, Embedded)> {
    private::folder(folder)
        .with_context(|| format!("cannot create the data folder {}", folder.display()))?;
    let lock = lock(folder)?;
    let socket_dir = socket_dir(folder)?;
    let root = folder.join("pg");
    let socket = socket_dir.join(".s.PGSQL.5432");
    let server = tokio::task::spawn_blocking(move || {
        PgliteServer::builder()
            .path(root)
            .unix(socket)
            .username(USER)
            .database(USER)
            .start()
    })
    .await?
    .context("the embedded database did not start")?;
    // There is only one connection, so it is never closed for idling or age.
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .min_connections(1)
        .acquire_timeout(Duration::from_secs(60))
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_with(
            PgConnectOptions::new_without_pgpass()
                .socket(&socket_dir)
                .username(USER)
                .database(USER)
                .ssl_mode(PgSslMode::Disable),
        )
        .await
        .context("the embedded database does not answer")?;
    let embedded = Embedded {
        server,
        socket_dir,
        _lock: lock,
    };
    Ok((pool, embedded))
}

fn lock(folder: &Path) -> anyhow::Result<File> {
    let lock = private::file(&folder.join("lock"))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => bail!(
            "another hogsend uses the data folder {}: stop it, or set HOGSEND_DATA_DIR to another \
             folder",
            folder.display()
        ),
        Err(TryLockError::Error(error)) => Err(error).context("cannot lock the data folder"),
    }
}

/// A private folder for the socket: next to the data, or among the system's temporary files where
/// that path is too long (at most 107 bytes for a socket). We hold the lock, so leftovers in it
/// belong to no live process.
fn socket_dir(folder: &Path) -> anyhow::Result<PathBuf> {
    let beside = folder.canonicalize()?.join("socket");
    let dir = if beside.as_os_str().len() <= 80 {
        let _ = fs::remove_dir_all(&beside);
        beside
    } else {
        std::env::temp_dir().join(format!("hogsend-{}", uuid::Uuid::new_v4().simple()))
    };
    fs::create_dir(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700))?;
    }
    Ok(dir)
}
