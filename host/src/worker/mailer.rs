//! Delivers due mails.

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use super::poll::Work;
use crate::app::App;
use crate::db::{self, Topic};
use crate::mail::{self, Claims, Delivery, Lane};

/// Concurrent requests where each carries one mail: a request takes longer than the interval that
/// the provider's rate requires between two.
const PLACES: usize = 16;
/// Concurrent requests where each carries many mails.
const BATCHES: usize = 4;
/// Additional requests reserved for transactional mail.
const URGENT: usize = 4;

/// Claims due mails and batches and makes the requests. Returns how many there were. For tests and
/// tools that move the clock themselves.
pub async fn deliver_due(app: &App) -> db::Result<usize> {
    if app.halt.look(&app.db).await? {
        return Ok(0);
    }
    let places = places(app, Lane::All);
    let (deliveries, looked_at) = mail::claim(app, places, Lane::All).await?;
    let all = deliveries.into_iter().map(|one| mail::perform(app, one));
    for done in futures_util::future::join_all(all).await {
        done?;
    }
    Ok(looked_at)
}

fn places(app: &App, lane: Lane) -> usize {
    let first = mail::first_choices(app).into_iter();
    let batches = first.max_by_key(|one| one.capabilities().batch_max);
    let batches = batches.is_some_and(|one| one.capabilities().batch_max > 1);
    match (lane, batches) {
        (Lane::Urgent, _) => URGENT,
        (Lane::All, true) => BATCHES,
        (Lane::All, false) => PLACES.min(app.config.database_pool_size),
    }
}

/// All mail, transactional first.
pub(super) struct Mails(App);

/// Transactional mail alone, so that a slow answer to other mail never holds it up.
pub(super) struct UrgentMails(App);

impl Mails {
    pub(super) fn new(app: &App) -> Self {
        Self(app.clone())
    }
}

impl UrgentMails {
    pub(super) fn new(app: &App) -> Self {
        Self(app.clone())
    }
}

macro_rules! delivers {
    ($work:ident, $name:literal, $topic:expr, $lane:expr) => {
        impl Work for $work {
            type Item = Delivery;
            type Ticket = Claims;

            const NAME: &'static str = $name;
            const TOPIC: Option<Topic> = $topic;
            // A provider may have got a mail whose request was cancelled.
            const REPEATABLE: bool = false;

            fn app(&self) -> &App {
                &self.0
            }

            fn places(&self) -> usize {
                places(&self.0, $lane)
            }

            async fn claim(&self, free: usize) -> db::Result<Vec<Delivery>> {
                loop {
                    let (deliveries, looked_at) = mail::claim(&self.0, free, $lane).await?;
                    // Mails that no provider accepts were kept, expired ones have ended: there may
                    // be more.
                    if !deliveries.is_empty() || looked_at == 0 {
                        return Ok(deliveries);
                    }
                }
            }

            async fn next_due(&self) -> db::Result<Option<DateTime<Utc>>> {
                mail::next_due(&self.0, $lane).await
            }

            async fn perform(&self, item: Delivery, stop: &CancellationToken) -> db::Result<()> {
                if stop.is_cancelled() {
                    return self.give_back(vec![item.claims()]).await;
                }
                let done = mail::perform(&self.0, item).await;
                if let Err(error) = &done {
                    tracing::error!(%error,
                        "mails could not be recorded, they are due again when their lease expires");
                }
                done
            }

            fn ticket(item: &Delivery) -> Claims {
                item.claims()
            }

            async fn give_back(&self, claims: Vec<Claims>) -> db::Result<()> {
                mail::give_back(&self.0, claims).await
            }
        }
    };
}

delivers!(Mails, "mails", Some(Topic::Mails), Lane::All);
// A wake-up reaches one loop only. The other loop takes transactional mail first, too; this one
// polls every few seconds for what is left over.
delivers!(UrgentMails, "urgent-mails", None, Lane::Urgent);
