//! Links of mails, and what people and machines do with them.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use uuid::Uuid;

use crate::db::{Conn, Result};
use crate::ids::SendId;

/// A link of a mail and where it leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackedLink {
    pub id: Uuid,
    pub url: String,
}

/// Keeps where the links of a mail lead, in the order in which they stand there.
pub async fn links_insert(conn: &mut Conn, send: SendId, links: &[TrackedLink]) -> Result<()> {
    if links.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = links.iter().map(|link| link.id).collect();
    let urls: Vec<String> = links.iter().map(|link| link.url.clone()).collect();
    sqlx::query!(
        "INSERT INTO tracked_links (id, send_id, position, url)
         SELECT n.id, $1, n.position, n.url
         FROM unnest($2::uuid[], $3::text[]) WITH ORDINALITY AS n (id, url, position)",
        send as SendId,
        &ids,
        &urls
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Someone or something came by: it followed a link, or fetched the image.
#[derive(Clone, Debug)]
pub struct NewVisit {
    pub id: Uuid,
    /// Why it is already known to be a machine.
    pub machine: Option<&'static str>,
    /// What it said of itself.
    pub detail: Value,
    /// When it can be judged whether it was a person.
    pub settle_at: Option<DateTime<Utc>>,
}

/// Visits of one link or image that are kept one by one, whatever their pace.
const KEPT_FIRST: i64 = 20;
/// Visits that are kept at all, of which those after the first are this far apart. Whoever fetches a
/// link a million times leaves a number, and nobody's first click is lost by it for long.
const KEPT_MAX: i64 = 200;
const KEPT_EVERY: TimeDelta = TimeDelta::minutes(10);

/// Records a click and returns where the link leads; None where there is no such link.
pub async fn click_insert(
    conn: &mut Conn,
    link: Uuid,
    visit: &NewVisit,
    now: DateTime<Utc>,
) -> Result<Option<String>> {
    sqlx::query_scalar!(
        "WITH link AS (SELECT id, send_id, url FROM tracked_links WHERE id = $1),
             room AS (
                 SELECT count(*) < $7 OR count(*) < $8 AND max(e.recorded_at) <= $9 AS kept
                 FROM email_events e JOIN link l ON e.send_id = l.send_id AND e.link_id = l.id
                 WHERE e.kind = 'clicked'),
             click AS (
                 INSERT INTO email_events (id, send_id, kind, occurred_at, recorded_at, link_id,
                     machine, detail, settle_at)
                 SELECT $2, send_id, 'clicked', $3, $3, id, $4, $5, $6 FROM link, room WHERE kept),
             further AS (
                 INSERT INTO further_visits AS f (send_id, kind, link_id, count, last_at)
                 SELECT send_id, 'clicked', id, 1, $3 FROM link, room WHERE NOT kept
                 ON CONFLICT (send_id, kind, link_id)
                 DO UPDATE SET count = f.count + 1, last_at = excluded.last_at)
         SELECT url FROM link",
        link,
        visit.id,
        now,
        visit.machine,
        visit.detail,
        visit.settle_at,
        KEPT_FIRST,
        KEPT_MAX,
        now - KEPT_EVERY
    )
    .fetch_optional(conn)
    .await
}

/// Records that a mail was opened; false where there is no such mail.
pub async fn open_insert(
    conn: &mut Conn,
    send: SendId,
    visit: &NewVisit,
    now: DateTime<Utc>,
) -> Result<bool> {
    sqlx::query_scalar!(
        r#"WITH mail AS (SELECT id FROM email_sends WHERE id = $1),
             room AS (
                 SELECT count(*) < $7 OR count(*) < $8 AND max(recorded_at) <= $9 AS kept
                 FROM email_events
                 WHERE send_id = $1 AND kind = 'opened' AND provider IS NULL),
             open AS (
                 INSERT INTO email_events (id, send_id, kind, occurred_at, recorded_at, machine,
                     detail, settle_at)
                 SELECT $2, id, 'opened', $3, $3, $4, $5, $6 FROM mail, room WHERE kept),
             further AS (
                 INSERT INTO further_visits AS f (send_id, kind, link_id, count, last_at)
                 SELECT id, 'opened', $10::uuid, 1, $3 FROM mail, room WHERE NOT kept
                 ON CONFLICT (send_id, kind, link_id)
                 DO UPDATE SET count = f.count + 1, last_at = excluded.last_at)
         SELECT EXISTS (SELECT FROM mail) AS "known!""#,
        send as SendId,
        visit.id,
        now,
        visit.machine,
        visit.detail,
        visit.settle_at,
        KEPT_FIRST,
        KEPT_MAX,
        now - KEPT_EVERY,
        Uuid::nil()
    )
    .fetch_one(conn)
    .await
}
