//! Links of mails, and their opens and clicks by people and machines.

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

/// Stores the targets of mails' links, in the order of each mail's links.
pub async fn links_insert(conn: &mut Conn, mails: &[(SendId, &[TrackedLink])]) -> Result<()> {
    let places = |(send, links): &(SendId, &'_ [TrackedLink])| {
        let send = *send;
        let count = links.len() as i32;
        (1..=count).map(move |position| (send, position))
    };
    let (sends, positions): (Vec<SendId>, Vec<i32>) = mails.iter().flat_map(places).unzip();
    if sends.is_empty() {
        return Ok(());
    }
    let links = || mails.iter().flat_map(|(_, links)| links.iter());
    let ids: Vec<Uuid> = links().map(|link| link.id).collect();
    let urls: Vec<String> = links().map(|link| link.url.clone()).collect();
    sqlx::query!(
        "INSERT INTO tracked_links (id, send_id, position, url)
         SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::int[], $4::text[])",
        &ids,
        &sends as &[SendId],
        &positions,
        &urls
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// An open or a click: somebody or something fetched the image or followed a link.
#[derive(Clone, Debug)]
pub struct NewVisit {
    pub id: Uuid,
    /// Why it is known to be a machine already.
    pub machine: Option<&'static str>,
    /// What the request said about itself.
    pub detail: Value,
    /// When it can be classified as person or machine.
    pub settle_at: Option<DateTime<Utc>>,
}

/// The first visits of a link or image are all stored.
const KEPT_FIRST: i64 = 20;
/// Visits of a link or image that are stored at most; those after the first ones are at least this
/// far apart. A client that fetches a link a million times only increases a counter, and a person's
/// click is still recorded soon after.
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

/// Records an open; false where there is no such mail.
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
