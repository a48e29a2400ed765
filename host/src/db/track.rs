//! Links of mails, and what people and machines do with them.

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
