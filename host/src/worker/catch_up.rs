//! Brings consent, suppressions and addresses that a version before wrote up to date. Until then they hold all
//! the same, so nobody has to call this loop.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::contacts::consent::catch_up;
use crate::contacts::fill_addresses;
use crate::crew::Crew;
use crate::db;

/// As the log and health call it.
const NAME: &str = "consent";
/// How often it is looked for: a version before may still write during a deployment.
const LOOK: Duration = Duration::from_secs(30);
/// Between two batches, so that the database has time for others.
const PAUSE: Duration = Duration::from_millis(20);

pub(super) fn start(app: &App, crew: &mut Crew) {
    let (app, stop) = (app.clone(), crew.stop().clone());
    crew.spawn(NAME, async move { run(&app, &stop).await });
}

async fn rows(app: &App) -> db::Result<usize> {
    Ok(catch_up(app).await? + fill_addresses(app).await?)
}

async fn run(app: &App, stop: &CancellationToken) {
    while !stop.is_cancelled() {
        let pause = match rows(app).await {
            Ok(rows) => {
                app.loops.sound(NAME);
                if rows == 0 { LOOK } else { PAUSE }
            }
            Err(error) => app.loops.failed(NAME, &error),
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}
