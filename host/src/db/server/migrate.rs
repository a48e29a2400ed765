//! The schema: numbered SQL files, forward only.

use std::borrow::Cow;

use sqlx::Executor as _;
use sqlx::migrate::{Migrate, Migrator};

use crate::db::{Conn, Db, Result};

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations");

/// The database's schema compared with this binary's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaState {
    /// The newest migration applied.
    pub applied: Option<String>,
    /// The newest migration of this binary.
    pub required: Option<String>,
    /// Migrations of this binary that are not applied, oldest first.
    pub pending: Vec<String>,
}

impl SchemaState {
    pub fn in_sync(&self) -> bool {
        self.pending.is_empty()
    }
}

fn name(version: i64, description: &str) -> String {
    format!("{version:04}_{}", description.replace(' ', "_"))
}

/// Applies what is pending. Safe to run from several processes at once.
pub async fn migrate(db: &Db) -> std::result::Result<(), sqlx::migrate::MigrateError> {
    // A newer version's migrations may be there already: versions overlap during a deployment.
    let migrator = Migrator {
        ignore_missing: true,
        migrations: Cow::Borrowed(&MIGRATIONS.migrations),
        ..Migrator::DEFAULT
    };
    let mut conn = db.conn().await?;
    // Building an index can exceed the default timeout.
    conn.execute("SET statement_timeout = 0").await?;
    let done = migrator.run(&mut *conn).await;
    conn.execute(crate::db::SESSION).await?;
    done
}

/// Creates trigram indexes for searches of contacts and suppressed addresses, where the server has
/// `pg_trgm` and we may create it. Without them a search scans every row.
///
/// The indexes are on expressions that only searches use. One on the bare column also serves `=`, and
/// the planner preferred it to the unique index, at a hundred times the cost of a look-up.
///
/// Safe to run again, and from several processes at once: one builds, the others return.
pub async fn index_searches(db: &Db) -> Result<()> {
    /// Advisory lock of the process that builds the indexes.
    const LOCK: i64 = 0x686f_6773_7365_6172;
    const INDEXES: [(&str, &str); 3] = [
        (
            "contacts_email_search_trgm",
            "CREATE INDEX CONCURRENTLY contacts_email_search_trgm ON contacts
             USING gin ((email || '') gin_trgm_ops)",
        ),
        (
            "contacts_external_id_search_trgm",
            "CREATE INDEX CONCURRENTLY contacts_external_id_search_trgm ON contacts
             USING gin ((external_id || '') gin_trgm_ops)",
        ),
        (
            "suppressions_email_search_trgm",
            "CREATE INDEX CONCURRENTLY suppressions_email_search_trgm ON suppressions
             USING gin ((email || '') gin_trgm_ops)",
        ),
    ];
    /// Indexes of earlier versions, on bare columns.
    const DROPPED: [&str; 3] = [
        "contacts_email_trgm",
        "contacts_external_id_trgm",
        "suppressions_email_trgm",
    ];
    if db.is_embedded() {
        return Ok(());
    }
    let mut conn = db.conn().await?;
    let held = sqlx::query_scalar!(r#"SELECT pg_try_advisory_lock($1) AS "held!""#, LOCK)
        .fetch_one(&mut *conn)
        .await?;
    if !held {
        return Ok(());
    }
    conn.execute("SET statement_timeout = 0").await?;
    let done = async {
        conn.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
            .await?;
        for name in DROPPED {
            let drop = format!("DROP INDEX CONCURRENTLY IF EXISTS {name}");
            conn.execute(sqlx::AssertSqlSafe(drop)).await?;
        }
        for (name, create) in INDEXES {
            let valid = sqlx::query_scalar!(
                r#"SELECT indisvalid AS "valid!" FROM pg_index WHERE indexrelid = to_regclass($1)"#,
                name
            )
            .fetch_optional(&mut *conn)
            .await?;
            match valid {
                Some(true) => continue,
                // An earlier build was interrupted.
                Some(false) => {
                    let drop = format!("DROP INDEX CONCURRENTLY IF EXISTS {name}");
                    conn.execute(sqlx::AssertSqlSafe(drop)).await?;
                }
                None => {}
            }
            conn.execute(create).await?;
        }
        Ok(())
    };
    let done: Result<()> = done.await;
    conn.execute(crate::db::SESSION).await?;
    sqlx::query_scalar!(r#"SELECT pg_advisory_unlock($1) AS "free!""#, LOCK)
        .fetch_one(&mut *conn)
        .await?;
    done
}

/// Compares the database with this binary.
pub async fn schema_state(conn: &mut Conn) -> Result<SchemaState> {
    let known =
        sqlx::query_scalar!(r#"SELECT to_regclass('_sqlx_migrations') IS NOT NULL AS "known!""#)
            .fetch_one(&mut *conn)
            .await?;
    let applied: Vec<i64> = if known {
        let done = conn.list_applied_migrations("_sqlx_migrations").await;
        let done = done.map_err(|error| sqlx::Error::Protocol(error.to_string()))?;
        done.into_iter()
            .map(|migration| migration.version)
            .collect()
    } else {
        Vec::new()
    };
    let ours = || {
        MIGRATIONS
            .iter()
            .map(|m| (m.version, name(m.version, &m.description)))
    };
    Ok(SchemaState {
        applied: ours()
            .rfind(|(version, _)| applied.contains(version))
            .map(|(_, name)| name),
        required: ours().next_back().map(|(_, name)| name),
        pending: ours()
            .filter(|(version, _)| !applied.contains(version))
            .map(|(_, name)| name)
            .collect(),
    })
}
