//! Accepting a database as it is.

use chrono::{DateTime, Utc};
use serde_json::json;

use crate::audit::{Actor, Change, Refused, audit};
use crate::db::{self, Db, PauseRow, Tx};

/// What accepting a database changed.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The pause that it ended.
    pub pause: Option<PauseRow>,
    /// `API_PUBLIC_URL` of the workers that may send from now on; None where none has started yet.
    pub public_url: Option<String>,
}

/// Accepts the database: the address that a worker was started with, or `url`, and the server it is on. Ends the
/// pause, so mails that are still useful go out. Workers with the address before may be restarted for a day.
///
/// # Errors
/// An address that is none.
pub async fn accept(
    db: &Db,
    actor: &Actor,
    url: Option<&str>,
    now: DateTime<Utc>,
) -> Result<Accepted, Refused> {
    let url = url.map(address).transpose()?;
    let server = db::server_identity(&mut *db.conn().await?).await?;
    let work = async |mut tx: Tx| {
        let row = db::installation_lock(&mut tx).await?;
        let found = row.found_url.clone().or(row.public_url.clone());
        let public_url = url.clone().or(found);
        let server = server.as_deref().filter(|_| public_url.is_some());
        let to = public_url.as_deref();
        let epoch = db::installation_accept(&mut tx, to, server, now).await?;
        let pause = db::pause_restored_end(&mut tx, now).await?;
        let change = Change::changed(
            json!({ "publicUrl": row.public_url, "epoch": row.epoch,
                    "reason": pause.as_ref().and_then(|pause| pause.reason.clone()) }),
            json!({ "publicUrl": public_url, "epoch": epoch }),
        );
        let about = ("installation", &*row.id.to_string());
        audit(&mut tx, actor, "installation.accept", about, change, now).await?;
        Ok::<_, Refused>((tx, Accepted { pause, public_url }))
    };
    let accepted = db.transact(work).await?;
    tracing::warn!(by = actor.name(), "the database is accepted as it is");
    Ok(accepted)
}

/// The address as `API_PUBLIC_URL` is read.
fn address(text: &str) -> Result<String, Refused> {
    let url = reqwest::Url::parse(text.trim()).ok();
    let url = url.filter(|url| ["http", "https"].contains(&url.scheme()) && url.has_host());
    let url = url.ok_or_else(|| {
        let message =
            "must be the API_PUBLIC_URL of the workers, for example https://api.example.com";
        Refused::invalid("publicUrl", message)
    })?;
    Ok(url.as_str().trim_end_matches('/').to_owned())
}
