//! Delivers due mails.

use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use tokio_util::sync::CancellationToken;

use super::poll::Work;
use crate::app::App;
use crate::db::{self, Topic};
use crate::loops::item_failed;
use crate::mail::{self, Claims, Delivery, Lane};
use crate::worker::engine::Chosen;

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

/// How often an engine that makes the requests is asked whether more are due.
const OFFER_EVERY: TimeDelta = TimeDelta::seconds(1);

/// All mail, transactional first.
pub(super) struct Mails(Lanes);

/// Transactional mail alone, so that a slow answer to other mail never holds it up.
pub(super) struct UrgentMails(Lanes);

struct Lanes {
    app: App,
    engine: Chosen,
    /// The engine makes the requests that are due.
    offered: AtomicBool,
}

impl Lanes {
    fn new(app: &App, engine: &Chosen) -> Self {
        Self {
            app: app.clone(),
            engine: engine.clone(),
            offered: AtomicBool::default(),
        }
    }
}

impl Mails {
    pub(super) fn new(app: &App, engine: &Chosen) -> Self {
        Self(Lanes::new(app, engine))
    }
}

impl UrgentMails {
    pub(super) fn new(app: &App, engine: &Chosen) -> Self {
        Self(Lanes::new(app, engine))
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
                &self.0.app
            }

            fn places(&self) -> usize {
                places(&self.0.app, $lane)
            }

            async fn claim(&self, free: usize) -> db::Result<Vec<Delivery>> {
                let Lanes {
                    app,
                    engine,
                    offered,
                } = &self.0;
                let offer = engine.offer_mail(app, $lane, free).await?;
                offered.store(offer, Ordering::Relaxed);
                if offer {
                    return Ok(Vec::new());
                }
                loop {
                    let (deliveries, looked_at) = mail::claim(app, free, $lane).await?;
                    // Mails that no provider accepts were kept, expired ones have ended: there may
                    // be more.
                    if !deliveries.is_empty() || looked_at == 0 {
                        return Ok(deliveries);
                    }
                }
            }

            async fn next_due(&self) -> db::Result<Option<DateTime<Utc>>> {
                let due = mail::next_due(&self.0.app, $lane).await?;
                if self.0.offered.load(Ordering::Relaxed) {
                    let next = self.0.app.clock.now() + OFFER_EVERY;
                    return Ok(due.map(|due| due.max(next)));
                }
                Ok(due)
            }

            async fn perform(&self, item: Delivery, stop: &CancellationToken) -> db::Result<()> {
                if stop.is_cancelled() {
                    return self.give_back(vec![item.claims()]).await;
                }
                let done = mail::perform(&self.0.app, item).await;
                if let Err(error) = &done {
                    item_failed(
                        "mails could not be recorded, they are due again when their lease expires",
                        error,
                    );
                }
                done
            }

            fn ticket(item: &Delivery) -> Claims {
                item.claims()
            }

            async fn give_back(&self, claims: Vec<Claims>) -> db::Result<()> {
                mail::give_back(&self.0.app, claims).await
            }
        }
    };
}

delivers!(Mails, "mails", Some(Topic::Mails), Lane::All);
// A wake-up reaches one loop only. The other loop takes transactional mail first, too; this one
// polls every few seconds for what is left over.
delivers!(UrgentMails, "urgent-mails", None, Lane::Urgent);
