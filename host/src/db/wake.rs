//! Waking the workers when there is something to do.
//!
//! On a server, a `NOTIFY` in the transaction reaches every process when it commits. The embedded
//! database has no second connection to listen on, and no second process either. A lost wake-up
//! only costs time: workers also poll.

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::PgListener;
use strum::{EnumString, IntoStaticStr, VariantArray};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{Conn, Result};
use crate::telemetry::Outage;

const CHANNEL: &str = "hogsend_wake";

/// The loop to wake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Topic {
    /// Runs are due.
    Runs,
    /// Mails are due.
    Mails,
    /// Captures are due.
    Captures,
    /// Webhook deliveries are due.
    Webhooks,
    /// Imports are due.
    Imports,
    /// Alerts are due.
    Alerts,
    /// Wake-ups of runs are kept for an engine outside the database.
    Wakes,
}

/// A set of topics.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Topics(u8);

impl Topics {
    pub(super) fn add(&mut self, topic: Topic) {
        self.0 |= 1 << topic as u8;
    }

    pub(super) fn list(self) -> Vec<Topic> {
        let named = |topic: &Topic| self.0 & (1 << *topic as u8) != 0;
        Topic::VARIANTS.iter().copied().filter(named).collect()
    }
}

#[derive(Clone)]
pub struct Wake {
    /// One for each topic, in the order of their declaration.
    calls: Arc<[Notify; Topic::VARIANTS.len()]>,
    /// None for the embedded database.
    server: Option<PgPool>,
}

impl Wake {
    pub(super) fn in_process() -> Self {
        Self {
            calls: Arc::default(),
            server: None,
        }
    }

    pub(super) fn listening(pool: PgPool) -> Self {
        Self {
            server: Some(pool),
            ..Self::in_process()
        }
    }

    /// Inside a transaction that created work: notifies other processes on commit.
    pub(super) async fn announce(&self, conn: &mut Conn, topics: &[Topic]) -> Result<()> {
        if self.server.is_none() || topics.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = topics.iter().map(<&str>::from).map(str::to_owned).collect();
        sqlx::query!(
            "SELECT pg_notify($1, topic) FROM unnest($2::text[]) AS topic",
            CHANNEL,
            &names
        )
        .execute(conn)
        .await?;
        Ok(())
    }

    /// After the commit: wakes this process.
    pub(super) fn committed(&self, topics: &[Topic]) {
        for topic in topics {
            self.of(*topic).notify_one();
        }
    }

    /// Wakes another task of this process.
    pub fn nudge(&self, topic: Topic) {
        self.of(topic).notify_one();
    }

    /// Waits to be woken for `topic`. A wake-up that came before the wait counts.
    pub async fn wait(&self, topic: Topic) {
        self.of(topic).notified().await;
    }

    /// Passes the server's notifications on to this process until `stop`; reconnects by itself.
    pub async fn listen(&self, stop: CancellationToken) {
        let Some(pool) = &self.server else {
            // The embedded database has no other process.
            return stop.cancelled().await;
        };
        let outage = Outage::new();
        while !stop.is_cancelled() {
            let ended = tokio::select! {
                () = stop.cancelled() => return,
                ended = self.listen_once(pool, &outage) => ended,
            };
            if let Err(error) = ended
                && let Some(failing) = outage.failed()
            {
                tracing::warn!(
                    %error,
                    failures = failing.failures,
                    seconds = failing.seconds,
                    "lost the connection that listens for wake-ups, retrying each second; until then \
                     work is looked for at intervals"
                );
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
            }
        }
    }

    async fn listen_once(&self, pool: &PgPool, outage: &Outage) -> Result<()> {
        let mut listener = PgListener::connect_with(pool).await?;
        listener.listen(CHANNEL).await?;
        if let Some(recovered) = outage.over() {
            let seconds = recovered.seconds;
            tracing::info!(seconds, "the connection that listens for wake-ups is back");
        }
        // Notifications sent before the connection was up are lost.
        self.committed(Topic::VARIANTS);
        loop {
            let heard = listener.recv().await?;
            if let Ok(topic) = heard.payload().parse() {
                self.of(topic).notify_one();
            }
        }
    }

    fn of(&self, topic: Topic) -> &Notify {
        &self.calls[topic as usize]
    }
}
