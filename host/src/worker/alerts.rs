//! Looks at rules and passes alerts on.

use chrono::TimeDelta;
use tokio_util::sync::CancellationToken;

use super::mailer::idle;
use crate::alerts;
use crate::app::App;
use crate::db::{self, Topic};
use crate::webhooks;

/// Alerts passed on at once.
const BATCH: i64 = 8;

pub(super) async fn run(app: &App, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let due = match alert_due(app).await {
            Ok(0) => match app.db.conn().await {
                Ok(mut conn) => db::alert_next_due(&mut conn).await.ok().flatten(),
                Err(_) => None,
            },
            Ok(_) => continue,
            Err(error) => {
                tracing::error!(%error, "alerts could not be looked at, trying again");
                Some(app.clock.now() + TimeDelta::seconds(1))
            }
        };
        idle(app, Topic::Alerts, due, &stop).await;
    }
}

/// Looks at one rule that is due and passes on alerts that are. Returns how many there were of
/// both.
pub async fn alert_due(app: &App) -> db::Result<usize> {
    let checked = usize::from(alerts::check_next(app).await?);
    let now = app.clock.now();
    let claimed = {
        let mut conn = app.db.conn().await?;
        let until = now + webhooks::lease(app.config.lease);
        db::alert_claim(&mut conn, now, until, BATCH).await?
    };
    let count = claimed.len();
    let told = claimed.into_iter().map(|one| alerts::notify(app, one));
    for done in futures_util::future::join_all(told).await {
        done?;
    }
    Ok(checked + count)
}
