//! What a faulty plugin may do to the product, in the host's process and in a child.
//!
//! Each row of [`ROWS`] is a claim that holds in both, with the library of `fixtures/faults` as `cargo build`
//! makes it. What each single fault does to its call is in `faults.rs`.

mod bounds;
mod crashes;
mod journeys;
mod mails;
mod start;

use std::collections::VecDeque;
use std::sync::Mutex;
use std::thread;

use serde_json::json;

use crate::faults::{APART, INSIDE};
use crate::isolation::faults;
use crate::support::{Server, Store};

/// Where the plugin runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the host's process.
    Inside,
    /// In a child process.
    Apart,
}

/// A claim about the host.
type Row = (&'static str, fn(Place));

/// Runs an async claim.
macro_rules! rows {
    ($($module:ident::$claim:ident,)*) => {
        const ROWS: &[Row] = &[$((stringify!($claim), |place| run($module::$claim(place)))),*];
    };
}

rows! {
    crashes::a_run_that_ends_its_process_is_stuck_and_the_others_go_on,
    crashes::a_mail_that_ends_its_process_is_given_up_and_the_others_are_sent,
    journeys::a_run_that_never_returns_is_stuck_and_the_others_go_on,
    journeys::a_loop_of_steps_ends_its_run,
    journeys::text_that_cannot_be_stored_costs_no_run,
    mails::a_mail_whose_id_cannot_be_stored_is_sent_once,
    mails::a_webhook_with_text_that_cannot_be_stored_is_recorded,
    mails::a_mail_at_which_the_plugin_panics_stops_no_other,
    mails::a_batch_at_which_the_plugin_panics_is_sent_mail_by_mail,
    mails::a_panic_after_a_request_leaves_the_mail_in_doubt,
    mails::a_mail_that_cannot_be_prepared_waits_longer_each_time,
    mails::a_pause_without_end_is_a_day,
    bounds::answers_that_are_too_large_are_cut_or_refused,
    bounds::a_mail_that_is_too_large_is_not_sent,
    bounds::an_event_source_brings_no_events_of_hogsends_own,
    start::a_manifest_that_never_returns_is_refused,
    start::a_start_that_never_ends_is_refused,
    start::a_manifest_that_is_too_large_is_refused,
    start::settings_of_others_are_not_given,
    start::a_kind_that_is_not_used_leaves_the_others,
    start::a_folder_that_others_may_change_is_refused_in_production,
    start::the_copy_of_a_replaced_library_is_deleted,
}

/// Most rows wait for something most of the time.
const AT_ONCE: usize = 6;

fn run(claim: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(claim);
    // A call that hangs goes on.
    runtime.shutdown_background();
}

/// Runs every row; the failed ones are named at the end, with what they said before.
fn run_all(place: Place) {
    let only = std::env::var("HOGSEND_TEST_ROW").unwrap_or_default();
    let rows = ROWS.iter().filter(|(name, _)| name.contains(&only));
    let rows = Mutex::new(rows.collect::<VecDeque<_>>());
    let failed = Mutex::new(Vec::new());
    let next = || rows.lock().unwrap().pop_front();
    thread::scope(|all| {
        for _ in 0..AT_ONCE {
            all.spawn(|| {
                while let Some((name, claim)) = next() {
                    let done = thread::Builder::new()
                        .name(format!("{place:?} {name}"))
                        .spawn(move || claim(place));
                    if done.unwrap().join().is_err() {
                        failed.lock().unwrap().push(*name);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{place:?}: {failed:#?}");
}

#[test]
fn every_row_holds_in_the_hosts_process() {
    run_all(Place::Inside);
}

#[test]
fn every_row_holds_in_a_child() {
    run_all(Place::Apart);
}

/// A plugin folder with the library of every fault, in this place.
fn folder(place: Place) -> tempfile::TempDir {
    faults(match place {
        Place::Inside => INSIDE,
        Place::Apart => APART,
    })
}

/// A server with the plugin, which delivers its mail.
struct Host {
    server: Server,
    folder: tempfile::TempDir,
}

impl Host {
    async fn start(place: Place, more: &[(&str, &str)]) -> Self {
        let folder = folder(place);
        let mut variables = vec![
            ("PLUGIN_DIR", folder.path().to_str().unwrap()),
            ("EMAIL_PROVIDER", "faults"),
        ];
        variables.extend_from_slice(more);
        let server = Server::with(Store::native().await, &variables).await;
        let plugins = server.app.plugins();
        let mut info = plugins.info().iter();
        let own = info.find(|plugin| plugin.id == "faults").unwrap();
        assert_eq!(own.isolated, place == Place::Apart);
        Self { server, folder }
    }

    /// Stores an event that starts a journey of the plugin, and names the fault.
    async fn happens(&self, event: &str, user: &str, fault: &str) {
        let body = json!({
            "event": event, "userId": user, "userEmail": format!("{user}@example.com"),
            "properties": { "fault": fault },
        });
        assert_eq!(self.server.post("/v1/ingest", &body).await.status, 202);
    }

    /// Each run's person, status and error.
    async fn runs(&self) -> String {
        let runs = "SELECT string_agg(concat_ws(' ', c.external_id, s.status, s.stuck_reason, s.error_message),
                    ', ' ORDER BY c.external_id)
             FROM journey_states s JOIN contacts c ON c.id = s.contact_id";
        self.server.text(runs).await
    }

    /// Each mail's recipient and status.
    async fn mails(&self) -> String {
        let mails = "SELECT string_agg(split_part(to_email, '@', 1) || ' ' || status, ', ' ORDER BY to_email)
             FROM email_sends";
        self.server.text(mails).await
    }

    async fn attempts(&self) -> i64 {
        self.server
            .count("SELECT count(*) FROM email_attempts")
            .await
    }
}
