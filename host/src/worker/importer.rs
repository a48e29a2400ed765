//! Brings contacts in.

use chrono::TimeDelta;
use tokio_util::sync::CancellationToken;

use super::mailer::idle;
use crate::app::App;
use crate::contacts::import;
use crate::db::{self, Topic};

pub(super) async fn run(app: &App, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let due = match import_due(app, &stop).await {
            Ok(0) => match app.db.conn().await {
                Ok(mut conn) => db::import_next_due(&mut conn).await.ok().flatten(),
                Err(_) => None,
            },
            Ok(_) => continue,
            Err(error) => {
                tracing::error!(%error, "an import broke off, it goes on when its lease is over");
                Some(app.clock.now() + TimeDelta::seconds(1))
            }
        };
        idle(app, Topic::Imports, due, &stop).await;
    }
}

/// Goes on with an import that is due. Returns how many there were.
pub async fn import_due(app: &App, stop: &CancellationToken) -> db::Result<usize> {
    let now = app.clock.now();
    let claimed = {
        let mut conn = app.db.conn().await?;
        db::import_claim(&mut conn, now, now + app.config.lease).await?
    };
    let Some(claimed) = claimed else { return Ok(0) };
    import::run(app, claimed, stop).await?;
    Ok(1)
}
