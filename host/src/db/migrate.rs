//! The schema: numbered SQL files, forward only.

use std::borrow::Cow;

use sqlx::migrate::{Migrate, Migrator};

use super::{Conn, Db, Result};

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations");

/// How far the database is behind this binary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaState {
    /// The newest migration applied.
    pub applied: Option<String>,
    /// The newest migration this binary brings.
    pub required: Option<String>,
    /// Brought and not applied, oldest first.
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
    migrator.run(&db.pool).await
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
