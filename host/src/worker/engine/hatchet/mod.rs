//! Hatchet as the engine: each run has a durable task there, which sleeps where the run waits, and mail is a task
//! for each request to a provider.
//!
//! Nothing depends on Hatchet for being kept: Postgres has each run's due time and journal. A task only asks
//! "what now?" ([`runs::advance_one`](crate::runs::advance_one)) and waits as long as the answer says, or for the
//! event `run:<id>`. Wake-ups get there through `run_wakes` (`relay.rs`); what is lost on the way is found by
//! `reconcile.rs`. While Hatchet is away, runs wait for it and mail does not (`mail.rs`).

mod mail;
mod notes;
mod offers;
mod reconcile;
mod relay;
mod run;
mod switch;
mod tasks;
mod wake;
mod work;

pub use switch::{check, hand_over, take_back};

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hogsend_hatchet::{Client, Connection, Problem, Settings, Standing};

use super::{Engine, Health};
use crate::app::App;
use crate::clock::Clock;
use crate::crew::Crew;
use crate::db;
use crate::mail::Lane;
use crate::worker::periodic::Periodic;
use crate::worker::poll;
use offers::Offers;

/// How long Hatchet may be away before it counts as down, and mail no longer waits for it.
const PATIENCE: Duration = Duration::from_secs(10);

/// The engine of one process.
#[derive(Clone)]
pub struct Hatchet {
    client: Client,
    offers: Arc<Offers>,
    /// Why the worker does not start, though Hatchet may answer.
    problem: Arc<Mutex<Option<String>>>,
}

impl Hatchet {
    /// Connects at the first call.
    ///
    /// # Errors
    /// Where the certificates of the settings do not make a TLS connection.
    pub fn new(settings: &Settings, clock: &Clock) -> Result<Self, Problem> {
        let clock = clock.clone();
        let client = Client::new(settings, Arc::new(move || clock.now().into()))?;
        Ok(Self::with(client))
    }

    fn with(client: Client) -> Self {
        Self {
            client,
            offers: Arc::default(),
            problem: Arc::default(),
        }
    }

    fn problem(&self) -> MutexGuard<'_, Option<String>> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Whether this process takes tasks from it, so that the journeys are registered there.
    fn is_ready(&self) -> bool {
        self.client.connection().borrow().worker.is_some()
    }

    /// Whether wake-ups can go there now.
    fn takes_wakes(&self) -> bool {
        takes_wakes(&self.client.connection().borrow())
    }

    async fn until_it_takes_wakes(&self) {
        // The client has the sender.
        let _ = self.client.connection().wait_for(takes_wakes).await;
    }

    /// Whether it answers, or has been away for seconds only.
    fn is_there(&self) -> bool {
        let connection = self.client.connection();
        let away = connection.borrow().away_for();
        away.is_none_or(|away| away < PATIENCE)
    }
}

fn takes_wakes(connection: &Connection) -> bool {
    connection.standing == Standing::Up && connection.worker.is_some()
}

impl Engine for Hatchet {
    const KIND: &'static str = "hatchet";

    fn start(&self, app: &App, crew: &mut Crew) {
        let stop = crew.stop().clone();
        let (engine, worker) = (self.clone(), app.clone());
        crew.spawn(
            "hatchet",
            async move { work::run(&worker, &engine, stop).await },
        );
        poll::start(crew, relay::Relay::new(app, self));
        poll::start(crew, Periodic::new(reconcile::Reconciler::new(app, self)));
    }

    async fn offer_mail(&self, app: &App, lane: Lane, free: usize) -> db::Result<bool> {
        mail::offer(self, app, lane, free).await
    }

    fn health(&self) -> Health {
        let connection = self.client.connection();
        let connection = connection.borrow();
        let away = match &connection.standing {
            Standing::Away(why) if connection.away_for() >= Some(PATIENCE) => Some(format!(
                "Hatchet does not answer ({why}): runs wait, mail is sent without it. See HATCHET_CLIENT_HOST_PORT."
            )),
            _ => None,
        };
        let problem = self.problem().clone();
        let problem = problem.filter(|_| connection.worker.is_none());
        Health {
            up: connection.standing == Standing::Up && problem.is_none(),
            version: connection.version.as_ref().map(ToString::to_string),
            findings: away.or(problem).into_iter().collect(),
        }
    }
}
