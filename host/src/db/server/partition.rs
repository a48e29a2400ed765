//! Events in parts by month, so that the space of old ones is given back as a whole.
//!
//! A part is a native partition by id: ids begin with the time of receipt, so the parts follow each other in
//! time and the primary key stays as it is. The table that held everything becomes the part of all earlier
//! months, without copying a row. A default part takes what belongs to no month, so no event is ever refused
//! for want of a part. Where TimescaleDB made the table a hypertable, it keeps the parts itself.
//!
//! Every statement of this version and of earlier ones works with either form.

use std::time::Duration;

use chrono::{DateTime, Datelike, NaiveDate, TimeDelta, Utc};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};
use uuid::Uuid;

use crate::db::{Conn, Db, Result};
use crate::ids::floor;

/// How the table of events is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventsForm {
    /// One table.
    Plain,
    /// Native partitions.
    Partitioned,
    /// A hypertable of TimescaleDB.
    Hypertable,
}

/// Months that have their parts ahead of time.
const AHEAD: u32 = 3;
/// From when on TimescaleDB compresses a chunk. Later events are rare then, and each costs more.
const COMPRESS_AFTER: &str = "90 days";
/// How long to wait for the lock of the table, behind which every event waits.
const LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '2s'";
/// Attempts to get it.
const TRIES: u32 = 30;
const PAUSE: Duration = Duration::from_secs(2);
/// One process changes the parts at a time.
const LOCK: i64 = 0x686f_6773_7061_7274;
/// A check while the table becomes a part.
const CHECK: &str = "user_events_until";

/// A part with rows of known ids.
struct Part {
    name: String,
    /// Its ids are smaller.
    until: Uuid,
}

/// How the table of events is stored.
pub async fn events_form(conn: &mut Conn) -> Result<EventsForm> {
    let partitioned: bool = sqlx::query_scalar(
        "SELECT relkind = 'p' FROM pg_class WHERE oid = to_regclass('user_events')",
    )
    .fetch_one(&mut *conn)
    .await?;
    if partitioned {
        return Ok(EventsForm::Partitioned);
    }
    let extension: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb')",
    )
    .fetch_one(&mut *conn)
    .await?;
    if !extension {
        return Ok(EventsForm::Plain);
    }
    let hypertable: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM timescaledb_information.hypertables
                        WHERE hypertable_schema = current_schema() AND hypertable_name = 'user_events')",
    )
    .fetch_one(&mut *conn)
    .await?;
    Ok(match hypertable {
        true => EventsForm::Hypertable,
        false => EventsForm::Plain,
    })
}

/// The first moment of the month `months` after that of `at`.
fn month(at: DateTime<Utc>, months: u32) -> DateTime<Utc> {
    let first = NaiveDate::from_ymd_opt(at.year(), at.month(), 1);
    let first = first.and_then(|day| day.checked_add_months(chrono::Months::new(months)));
    first
        .and_then(|day| day.and_hms_opt(0, 0, 0))
        .map_or(at, |time| time.and_utc())
}

fn part_name(month: DateTime<Utc>) -> String {
    format!("user_events_{}", month.format("%Y_%m"))
}

/// Brings the table of events into parts, or, where it is a hypertable, has TimescaleDB compress it. Online: it
/// locks the table for an instant, and reads it once without a lock that others notice. Returns what it did
/// for the operator, or None where nothing was to do. Safe to run again after it was interrupted.
///
/// # Errors
///
/// The lock was not to be had, or the role does not own the table: everything goes on as before.
pub async fn partition_events(db: &Db, now: DateTime<Utc>) -> Result<Option<String>> {
    if db.is_embedded() {
        return Ok(None);
    }
    let mut conn = db.conn().await?;
    let held: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)")
        .bind(LOCK)
        .fetch_one(&mut *conn)
        .await?;
    if !held {
        return Ok(None);
    }
    conn.execute("SET statement_timeout = 0").await?;
    let done = match events_form(&mut conn).await {
        Ok(EventsForm::Plain) => divide(&mut conn, now).await.map(Some),
        Ok(EventsForm::Partitioned) => partitions_ahead(&mut conn, now).await.map(|made| {
            (made > 0).then(|| format!("made {made} parts of the table of events ahead"))
        }),
        Ok(EventsForm::Hypertable) => compress(&mut conn).await,
        Err(error) => Err(error),
    };
    conn.execute(crate::db::SESSION).await?;
    sqlx::query("SELECT pg_advisory_unlock($1)")
        .bind(LOCK)
        .execute(&mut *conn)
        .await?;
    done
}

/// Makes the table the first part of a partitioned one.
async fn divide(conn: &mut Conn, now: DateTime<Utc>) -> Result<String> {
    // The rest of this month, and a week in which the steps can be run again.
    let from = month(now + TimeDelta::days(7), 1);
    let until = floor(from);
    attempt(
        conn,
        &[
            &format!("ALTER TABLE user_events DROP CONSTRAINT IF EXISTS {CHECK}"),
            &format!(
                "ALTER TABLE user_events ADD CONSTRAINT {CHECK} CHECK (id < '{until}') NOT VALID"
            ),
        ],
    )
    .await?;
    // From here on the check has to go if anything fails: it would refuse events of later months.
    let done = async {
        // Reads the table while others read and write it.
        let validate = format!("ALTER TABLE user_events VALIDATE CONSTRAINT {CHECK}");
        conn.execute(AssertSqlSafe(validate)).await?;
        let grants: Vec<(String, String)> = sqlx::query_as(
            "SELECT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END,
                    privilege_type
             FROM pg_class c, aclexplode(c.relacl) WHERE c.oid = to_regclass('user_events')",
        )
        .fetch_all(&mut *conn)
        .await?;
        let mut all = vec![
            "ALTER TABLE user_events RENAME TO user_events_before".to_owned(),
            "ALTER TABLE user_events_before RENAME CONSTRAINT user_events_pkey
                 TO user_events_before_pkey".into(),
            "ALTER INDEX user_events_history RENAME TO user_events_before_history".into(),
            "CREATE TABLE user_events (LIKE user_events_before INCLUDING DEFAULTS INCLUDING STORAGE
                 INCLUDING COMPRESSION) PARTITION BY RANGE (id)".into(),
            "ALTER TABLE user_events ADD CONSTRAINT user_events_pkey PRIMARY KEY (id, occurred_at)".into(),
            "CREATE INDEX user_events_history ON user_events (contact_id, name, occurred_at DESC)".into(),
            // The check proves that all rows belong there, so they are not read under the lock.
            format!("ALTER TABLE user_events ATTACH PARTITION user_events_before
                     FOR VALUES FROM (MINVALUE) TO ('{until}')"),
            format!("ALTER TABLE user_events_before DROP CONSTRAINT {CHECK}"),
            "CREATE TABLE user_events_rest PARTITION OF user_events DEFAULT".into(),
        ];
        all.extend((0..AHEAD).map(|at| {
            let (from, until) = (month(from, at), month(from, at + 1));
            format!(
                "CREATE TABLE {} PARTITION OF user_events FOR VALUES FROM ('{}') TO ('{}')",
                part_name(from), floor(from), floor(until)
            )
        }));
        all.extend(grants.into_iter().map(|(role, right)| {
            format!("GRANT {right} ON user_events TO {role}")
        }));
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        attempt(conn, &all).await
    }
    .await;
    if let Err(error) = done {
        attempt(
            conn,
            &[&format!(
                "ALTER TABLE user_events DROP CONSTRAINT IF EXISTS {CHECK}"
            )],
        )
        .await?;
        return Err(error);
    }
    Ok(format!(
        "the table of events is divided by month, from {} on",
        from.format("%F")
    ))
}

/// Removes the check that a division left when its process was killed: it would refuse the events of later months.
/// Returns whether there was one.
///
/// # Errors
///
/// The lock was not to be had, or the role does not own the table.
pub async fn unfinished_clear(conn: &mut Conn) -> Result<bool> {
    let left: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM pg_constraint
                        WHERE conrelid = to_regclass('user_events') AND conname = $1)",
    )
    .bind(CHECK)
    .fetch_one(&mut *conn)
    .await?;
    if !left {
        return Ok(false);
    }
    let mut tx = conn.begin().await?;
    // A division that is in progress holds it, and needs the check.
    let abandoned: bool = sqlx::query_scalar("SELECT pg_try_advisory_xact_lock($1)")
        .bind(LOCK)
        .fetch_one(&mut *tx)
        .await?;
    if abandoned {
        tx.execute(LOCK_TIMEOUT).await?;
        let clear = format!("ALTER TABLE user_events DROP CONSTRAINT IF EXISTS {CHECK}");
        tx.execute(AssertSqlSafe(clear)).await?;
    }
    tx.commit().await?;
    Ok(abandoned)
}

/// Runs statements in a transaction that waits for locks only briefly, as everything else waits behind it.
async fn attempt(conn: &mut Conn, statements: &[&str]) -> Result<()> {
    let mut tries = 1;
    loop {
        match attempt_once(conn, statements).await {
            Err(error) if is_locked(&error) && tries < TRIES => {
                tries += 1;
                tokio::time::sleep(PAUSE).await;
            }
            done => return done,
        }
    }
}

/// Runs them as the owner of the table, so that a superuser or a member of the owner's role does not take the parts
/// from the other processes.
async fn attempt_once(conn: &mut Conn, statements: &[&str]) -> Result<()> {
    let mut tx = conn.begin().await?;
    tx.execute(LOCK_TIMEOUT).await?;
    let owner: Option<String> = sqlx::query_scalar(
        "SELECT quote_ident(pg_get_userbyid(relowner)) FROM pg_class
         WHERE oid = to_regclass('user_events') AND pg_get_userbyid(relowner) <> current_user",
    )
    .fetch_optional(&mut *tx)
    .await?;
    if let Some(owner) = owner {
        let become_owner = format!("SET LOCAL ROLE {owner}");
        tx.execute(AssertSqlSafe(become_owner)).await?;
    }
    for statement in statements {
        tx.execute(AssertSqlSafe((*statement).to_owned())).await?;
    }
    tx.commit().await
}

fn code(error: &sqlx::Error) -> Option<String> {
    let error = error.as_database_error()?;
    error.code().map(|code| code.into_owned())
}

/// SQLSTATE 55P03: the lock was not to be had in time; 40P01: a deadlock.
fn is_locked(error: &sqlx::Error) -> bool {
    matches!(code(error).as_deref(), Some("55P03" | "40P01"))
}

/// Whether the role does not own the table (SQLSTATE 42501).
pub fn is_forbidden(error: &sqlx::Error) -> bool {
    code(error).as_deref() == Some("42501")
}

/// The parts with known bounds.
async fn parts(conn: &mut Conn) -> Result<Vec<Part>> {
    let all: Vec<(String, String)> = sqlx::query_as(
        "SELECT c.oid::regclass::text, pg_get_expr(c.relpartbound, c.oid)
         FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
         WHERE i.inhparent = to_regclass('user_events') AND c.relpartbound IS NOT NULL",
    )
    .fetch_all(conn)
    .await?;
    let parts = all.into_iter().filter_map(|(name, bound)| {
        let until = until_of(&bound)?;
        Some(Part { name, until })
    });
    Ok(parts.collect())
}

/// The upper bound in `FOR VALUES FROM (…) TO ('…')`; None for the default part.
fn until_of(bound: &str) -> Option<Uuid> {
    let (_, to) = bound.split_once(" TO ('")?;
    to.split('\'').next()?.parse().ok()
}

/// Makes the parts of the coming months that are missing. Returns how many.
///
/// # Errors
///
/// The lock was not to be had, or the role does not own the table: the default part takes the events.
pub async fn partitions_ahead(conn: &mut Conn, now: DateTime<Utc>) -> Result<usize> {
    let parts = parts(conn).await?;
    let last = parts.iter().map(|part| part.until).max();
    let mut made = 0;
    for at in 0..=AHEAD {
        let (from, until) = (month(now, at), month(now, at + 1));
        if last.is_some_and(|last| floor(until) <= last) {
            continue;
        }
        let name = part_name(from);
        // To attach a table takes a weaker lock than to create it as a part.
        let done = attempt_once(conn, &[
            &format!("CREATE TABLE {name} (LIKE user_events INCLUDING ALL)"),
            &format!(
                "ALTER TABLE user_events ATTACH PARTITION {name} FOR VALUES FROM ('{}') TO ('{}')",
                floor(from), floor(until)
            ),
        ])
        .await;
        match done.as_ref().err().and_then(code).as_deref() {
            None => {
                done?;
                made += 1;
            }
            // Another process made it (42P07, 42P17), or makes it just now (23505); the default part has
            // events of this month (23514), and keeps them.
            Some("42P07" | "42P17" | "23505" | "23514") => {}
            Some(_) => done?,
        }
    }
    Ok(made)
}

/// Drops the parts in which every event was received before a time. Returns their names.
///
/// # Errors
///
/// The lock was not to be had, or the role does not own the table: the rows are deleted instead.
pub async fn partitions_drop(conn: &mut Conn, before: DateTime<Utc>) -> Result<Vec<String>> {
    let mut dropped = Vec::new();
    for part in parts(conn).await? {
        if part.until <= floor(before) {
            attempt_once(conn, &[&format!("DROP TABLE {}", part.name)]).await?;
            dropped.push(part.name);
        }
    }
    Ok(dropped)
}

/// Has TimescaleDB compress old chunks: tigerdata.com/docs/api/latest, `compression/alter_table_compression` and
/// `compression/add_compression_policy`.
async fn compress(conn: &mut Conn) -> Result<Option<String>> {
    let compressed: bool = sqlx::query_scalar(
        "SELECT compression_enabled FROM timescaledb_information.hypertables
         WHERE hypertable_schema = current_schema() AND hypertable_name = 'user_events'",
    )
    .fetch_one(&mut *conn)
    .await?;
    if compressed {
        return Ok(None);
    }
    let erases: bool = sqlx::query_scalar(
        "SELECT string_to_array(substring(extversion FROM '^[0-9]+[.][0-9]+'), '.')::integer[] >= '{2,11}'
         FROM pg_extension WHERE extname = 'timescaledb'",
    )
    .fetch_one(&mut *conn)
    .await?;
    if !erases {
        return Ok(Some(
            "events are not compressed: TimescaleDB before 2.11 cannot erase a contact from compressed chunks; \
             update it with `ALTER EXTENSION timescaledb UPDATE`, then run `hogsend migrate` again"
                .into(),
        ));
    }
    // A contact's events are found, moved and erased without decompressing those of others.
    let policy = format!(
        "SELECT add_compression_policy('user_events', compress_after => INTERVAL '{COMPRESS_AFTER}',
                                       if_not_exists => true)"
    );
    attempt(conn, &[
        "ALTER TABLE user_events SET (timescaledb.compress, timescaledb.compress_segmentby = 'contact_id',
                                      timescaledb.compress_orderby = 'occurred_at DESC, id')",
        &policy,
    ])
    .await?;
    Ok(Some(format!(
        "TimescaleDB compresses events after {COMPRESS_AFTER}"
    )))
}

/// Drops the chunks of the hypertable in which every event happened before a time. No row is deleted by itself, as
/// that would decompress its chunk. Returns how many chunks there were (tigerdata.com/docs/api/latest,
/// `hypertable/drop_chunks`).
pub async fn chunks_drop(conn: &mut Conn, before: DateTime<Utc>) -> Result<u64> {
    let dropped = sqlx::query("SELECT drop_chunks('user_events', older_than => $1)")
        .bind(before)
        .execute(conn)
        .await?;
    Ok(dropped.rows_affected())
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};

    use super::{month, part_name, until_of};

    #[test]
    fn a_part_is_a_month_in_utc() {
        let at: DateTime<Utc> = "2026-12-31T23:59:59Z".parse().unwrap();
        let part = |months| part_name(month(at, months));
        assert_eq!(
            [part(0), part(1)],
            ["user_events_2026_12", "user_events_2027_01"]
        );
        assert_eq!(month(at, 2).to_rfc3339(), "2027-02-01T00:00:00+00:00");
    }

    #[test]
    fn the_bound_of_a_part_is_read_as_the_server_writes_it() {
        let until = "019b0000-0000-0000-0000-000000000000";
        for bound in [
            format!("FOR VALUES FROM (MINVALUE) TO ('{until}')"),
            format!("FOR VALUES FROM ('019a0000-0000-0000-0000-000000000000') TO ('{until}')"),
        ] {
            assert_eq!(until_of(&bound).unwrap().to_string(), until);
        }
        assert_eq!(until_of("DEFAULT"), None);
    }
}
