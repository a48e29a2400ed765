//! Upgrades consent, suppressions and addresses written by an older version. They are honoured
//! before that, too, so this loop needs no wake-ups.

use chrono::TimeDelta;
use tokio_util::sync::CancellationToken;

use super::periodic::{Left, Pass};
use crate::app::App;
use crate::contacts::consent::catch_up;
use crate::contacts::fill_addresses;
use crate::db;

pub(super) struct CatchUp {
    app: App,
}

impl CatchUp {
    pub(super) fn new(app: &App) -> Self {
        Self { app: app.clone() }
    }
}

impl Pass for CatchUp {
    const NAME: &'static str = "consent";
    /// An older version may still write during a deployment.
    const EVERY: TimeDelta = TimeDelta::seconds(30);

    fn app(&self) -> &App {
        &self.app
    }

    /// Upgrades one batch; where it was not empty, there may be more.
    async fn pass(&self, _: &CancellationToken) -> db::Result<Left> {
        let done = catch_up(&self.app).await? + fill_addresses(&self.app).await?;
        Ok(if done > 0 {
            Left::Perhaps
        } else {
            Left::Nothing
        })
    }
}
