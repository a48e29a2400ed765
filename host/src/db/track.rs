//! Links of mails, and what people and machines do with them.

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::{Conn, Result};
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

/// Records a click and returns where the link leads; None where there is no such link.
pub async fn click_insert(
    conn: &mut Conn,
    link: Uuid,
    visit: &NewVisit,
    now: DateTime<Utc>,
) -> Result<Option<String>> {
    sqlx::query_scalar!(
        "WITH link AS (SELECT id, send_id, url FROM tracked_links WHERE id = $1),
             click AS (
                 INSERT INTO email_events (id, send_id, kind, occurred_at, recorded_at, link_id,
                     machine, detail, settle_at)
                 SELECT $2, send_id, 'clicked', $3, $3, id, $4, $5, $6 FROM link)
         SELECT url FROM link",
        link,
        visit.id,
        now,
        visit.machine,
        visit.detail,
        visit.settle_at
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
    let done = sqlx::query!(
        "INSERT INTO email_events (id, send_id, kind, occurred_at, recorded_at, machine, detail,
             settle_at)
         SELECT $2, id, 'opened', $3, $3, $4, $5, $6 FROM email_sends WHERE id = $1",
        send as SendId,
        visit.id,
        now,
        visit.machine,
        visit.detail,
        visit.settle_at
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}
