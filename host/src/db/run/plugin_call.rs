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

/// A call for a subject has returned, another for it begins, or both.
#[derive(Clone, Debug, Default)]
pub struct CallSwitch {
    pub ended: Option<PluginCall>,
    pub begun: Option<PluginCall>,
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

/// Records changes about different subjects. A call that returned is not the one that kills workers, so its
/// earlier deaths are cleared. With `durable` false the commit does not wait for the disk: the record need not
/// survive a crash of the database's machine.
pub async fn calls_switch(
    conn: &mut Conn,
    changes: &[CallSwitch],
    durable: bool,
    now: DateTime<Utc>,
) -> Result<()> {
    let ended = columns(changes.iter().filter_map(|change| change.ended.as_ref()));
    let begun = columns(changes.iter().filter_map(|change| change.begun.as_ref()));
    sqlx::query!(
        "WITH pace AS MATERIALIZED (SELECT set_config('synchronous_commit',
             CASE WHEN $7 THEN current_setting('synchronous_commit') ELSE 'off' END, true)),
         ended AS (SELECT e.* FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS e (subject, claim, name), pace),
         gone AS (DELETE FROM plugin_calls c USING ended e
                  WHERE c.subject = e.subject AND c.claim = e.claim AND coalesce(c.died_in, e.name) = e.name),
         kept AS (UPDATE plugin_calls c SET calling = NULL FROM ended e
                  WHERE c.subject = e.subject AND c.claim = e.claim AND c.died_in <> e.name)
         INSERT INTO plugin_calls (subject, claim, calling, noted_at)
         SELECT b.*, $8::timestamptz FROM unnest($4::uuid[], $5::uuid[], $6::text[]) AS b (subject, claim, name), pace
         ORDER BY b.subject
         ON CONFLICT (subject) DO UPDATE SET claim = excluded.claim, calling = excluded.calling,
             noted_at = excluded.noted_at",
        &ended.0,
        &ended.1 as &[Claim],
        &ended.2,
        &begun.0,
        &begun.1 as &[Claim],
        &begun.2,
        durable,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

fn columns<'a>(
    calls: impl Iterator<Item = &'a PluginCall>,
) -> (Vec<Uuid>, Vec<Claim>, Vec<String>) {
    let mut columns = (Vec::new(), Vec::new(), Vec::new());
    for call in calls {
        columns.0.push(call.subject);
        columns.1.push(call.claim);
        columns.2.push(call.name.clone());
    }
    columns
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
