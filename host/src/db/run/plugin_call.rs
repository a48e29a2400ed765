//! Plugin calls under way, and those in which workers died.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::db::{Conn, Result};
use crate::ids::Claim;

/// A plugin call for one run, mail or batch of mails.
#[derive(Clone, Debug)]
pub struct PluginCall {
    pub subject: Uuid,
    /// The caller's claim on the subject.
    pub claim: Claim,
    /// Plugin, method and step: equal texts are the same call.
    pub name: String,
}

/// How often in a row a worker died in the same call for a run, mail or batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deaths {
    pub count: i16,
    /// The call. None where no worker died in one.
    pub call: Option<String>,
    /// The last of them was counted by this claim.
    pub fresh: bool,
}

/// Records that one call has returned, another begins, or both. A call that returned is not the one
/// that kills workers, so its earlier deaths are cleared. With `durable` false the commit does not
/// wait for the disk: the record need not survive a crash of the database's machine.
pub async fn call_switch(
    conn: &mut Conn,
    ended: Option<&PluginCall>,
    begun: Option<&PluginCall>,
    durable: bool,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "WITH pace AS MATERIALIZED (SELECT set_config('synchronous_commit',
             CASE WHEN $7 THEN current_setting('synchronous_commit') ELSE 'off' END, true)),
         gone AS (DELETE FROM plugin_calls USING pace
                  WHERE subject = $1 AND claim = $2 AND coalesce(died_in, $3) = $3),
         kept AS (UPDATE plugin_calls SET calling = NULL
                  WHERE subject = $1 AND claim = $2 AND died_in <> $3)
         INSERT INTO plugin_calls (subject, claim, calling, noted_at)
         SELECT $4::uuid, $5::uuid, $6::text, $8::timestamptz FROM pace WHERE $4::uuid IS NOT NULL
         ON CONFLICT (subject) DO UPDATE SET claim = excluded.claim, calling = excluded.calling,
             noted_at = excluded.noted_at",
        ended.map(|call| call.subject),
        ended.map(|call| call.claim) as Option<Claim>,
        ended.map(|call| call.name.as_str()),
        begun.map(|call| call.subject),
        begun.map(|call| call.claim) as Option<Claim>,
        begun.map(|call| call.name.as_str()),
        durable,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Counts worker deaths in calls for what was just claimed: a call still on record never returned.
/// Returns the subjects that have any.
///
/// Only the holder of a subject's claim calls this, so no death is counted twice.
pub async fn calls_died(conn: &mut Conn, subjects: &[Uuid]) -> Result<HashMap<Uuid, Deaths>> {
    if subjects.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = sqlx::query!(
        r#"WITH noted AS (
               SELECT subject, calling FROM plugin_calls WHERE subject = ANY($1) FOR UPDATE)
           UPDATE plugin_calls c SET calling = NULL, died_in = coalesce(n.calling, c.died_in),
               deaths = CASE WHEN n.calling IS NULL THEN c.deaths
                             WHEN n.calling = c.died_in THEN c.deaths + 1 ELSE 1 END
           FROM noted n WHERE c.subject = n.subject
           RETURNING c.subject, c.deaths, c.died_in, n.calling IS NOT NULL AS "fresh!""#,
        subjects
    )
    .fetch_all(conn)
    .await?;
    let deaths = rows.into_iter().map(|row| {
        let deaths = Deaths {
            count: row.deaths,
            call: row.died_in,
            fresh: row.fresh,
        };
        (row.subject, deaths)
    });
    Ok(deaths.collect())
}

/// Deletes the records of calls that were not running when their caller died, or that it gave up.
pub async fn calls_void(conn: &mut Conn, calls: &[(Uuid, Claim)]) -> Result<()> {
    let subjects: Vec<Uuid> = calls.iter().map(|call| call.0).collect();
    let claims: Vec<Claim> = calls.iter().map(|call| call.1).collect();
    sqlx::query!(
        "WITH void AS (SELECT * FROM unnest($1::uuid[], $2::uuid[]) AS v (subject, claim)),
         gone AS (DELETE FROM plugin_calls c USING void v
                  WHERE c.subject = v.subject AND c.claim = v.claim AND c.deaths = 0)
         UPDATE plugin_calls c SET calling = NULL FROM void v
         WHERE c.subject = v.subject AND c.claim = v.claim AND c.deaths > 0",
        &subjects,
        &claims as &[Claim]
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Clears the worker deaths of subjects that made progress or are over.
pub async fn calls_forget(conn: &mut Conn, subjects: &[Uuid]) -> Result<()> {
    sqlx::query!("DELETE FROM plugin_calls WHERE subject = ANY($1)", subjects)
        .execute(conn)
        .await?;
    Ok(())
}
