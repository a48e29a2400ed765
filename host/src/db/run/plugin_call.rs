//! Calls of plugins that are under way, and those in which workers ended.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::db::{Conn, Result};
use crate::ids::Claim;

/// A call of a plugin for one run, mail or batch of mails.
#[derive(Clone, Debug)]
pub struct PluginCall {
    pub subject: Uuid,
    /// What the caller holds it by.
    pub claim: Claim,
    /// Plugin, method and place: equal texts are the same call.
    pub name: String,
}

/// How often in a row workers ended in the same call for a run, mail or batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deaths {
    pub count: i16,
    /// The call. None where no worker ended in one.
    pub call: Option<String>,
    /// The last of them is counted by this claim.
    pub fresh: bool,
}

/// Keeps that one call has returned, another begins, or both. A call that returned was not the one
/// that ends workers, so earlier ends in it are forgotten. The notes need not survive an end of the
/// database's machine: with `durable` false nobody waits for its disk.
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

/// Counts the ends of workers in calls for what was just claimed: a call that is still noted never
/// returned. Returns those that have any.
///
/// Only who holds a subject asks, so no two count the same end.
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

/// Takes back notes of calls that were not running when their caller ended, or that it gave up.
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

/// Forgets in which calls workers ended: what it was about came further, or is over.
pub async fn calls_forget(conn: &mut Conn, subjects: &[Uuid]) -> Result<()> {
    sqlx::query!("DELETE FROM plugin_calls WHERE subject = ANY($1)", subjects)
        .execute(conn)
        .await?;
    Ok(())
}
