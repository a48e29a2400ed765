//! Holds journeys that too many contacts enter.

use chrono::TimeDelta;
use tokio_util::sync::CancellationToken;

use super::periodic::{Left, Pass};
use crate::alerts::SpikeGuard;
use crate::app::App;
use crate::db;

/// Checks all journeys once. Returns how many it held. For tests and tools that move the clock themselves.
pub async fn spikes_due(app: &App) -> db::Result<usize> {
    SpikeGuard::default().check(app).await
}

pub(super) struct Spikes {
    app: App,
    guard: SpikeGuard,
}

impl Spikes {
    pub(super) fn new(app: &App) -> Self {
        Self {
            app: app.clone(),
            guard: SpikeGuard::default(),
        }
    }
}

impl Pass for Spikes {
    const NAME: &'static str = "spike guard";
    const EVERY: TimeDelta = TimeDelta::seconds(3);

    fn app(&self) -> &App {
        &self.app
    }

    async fn pass(&self, _: &CancellationToken) -> db::Result<Left> {
        self.guard.check(&self.app).await?;
        Ok(Left::Nothing)
    }
}
