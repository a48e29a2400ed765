//! One line on the console for each event, run, step and mail of `hogsend dev`.

use std::collections::VecDeque;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::app::App;
use crate::db::{self, Happening};
use crate::ids;

/// The polling interval.
const LOOK: Duration = Duration::from_millis(500);
/// How far back each poll looks, since transactions commit later than the times they store.
const BACK: TimeDelta = TimeDelta::seconds(20);
/// Lines of each kind per poll.
const LINES: i64 = 200;
/// Lines that are remembered, so that none is printed twice.
const REMEMBERED: usize = 5_000;

/// Prints until `stop`.
pub async fn run(app: App, stop: CancellationToken) {
    let started = app.clock.now();
    // On a Postgres server only rows created from now on, which an index finds.
    let first = if app.db.is_embedded() {
        Uuid::nil()
    } else {
        ids::at(started)
    };
    let mut seen = Seen::default();
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let since = (app.clock.now() - BACK).max(started);
        let Ok(lately) = lately(&app, first, since).await else {
            // The database does not answer: the worker and the API log that.
            continue;
        };
        for one in lately {
            if seen.is_new(&one.key) {
                println!("{}", line(&one, app.config.port));
            }
        }
    }
}

async fn lately(app: &App, first: Uuid, since: DateTime<Utc>) -> db::Result<Vec<Happening>> {
    let mut conn = app.db.conn().await?;
    db::story_since(&mut conn, first, since, LINES).await
}

/// The lines printed recently.
#[derive(Default)]
struct Seen(VecDeque<String>);

impl Seen {
    fn is_new(&mut self, key: &str) -> bool {
        if self.0.iter().any(|known| known == key) {
            return false;
        }
        if self.0.len() >= REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(key.to_owned());
        true
    }
}

fn line(one: &Happening, port: u16) -> String {
    let time = one.at.format("%H:%M:%S");
    let what = plain(&one.what);
    let (detail, person) = (plain(&one.detail), plain(&one.person));
    match one.kind.as_str() {
        "event" => format!("{time}  event  {what}  of {person}, from {detail}"),
        "mail" => {
            let link = one
                .send
                .map(|id| format!("  http://localhost:{port}/outbox/{id}"));
            let what = if what.is_empty() {
                "(no subject)"
            } else {
                &what
            };
            format!(
                "{time}  mail   {detail}: {what}  to {person}{}",
                link.unwrap_or_default()
            )
        }
        "step" => {
            let until = one
                .until
                .map(|until| format!(", until {}", until.format("%F %H:%M:%S UTC")));
            format!(
                "{time}  step   {what}: {detail}  for {person}{}",
                until.unwrap_or_default()
            )
        }
        kind => format!("{time}  {kind:<5}  {what}: {detail}  for {person}"),
    }
}

/// Text from outside as one terminal line, without control characters.
fn plain(text: &str) -> String {
    let shown: String = text.chars().take(120).collect();
    shown
        .chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_printed_once_and_show_no_control_characters() {
        let mail = Happening {
            key: "k".into(),
            at: DateTime::UNIX_EPOCH,
            kind: "mail".into(),
            what: "Hi\u{1b}[2J\nthere".into(),
            detail: "sent".into(),
            person: "ann".into(),
            send: Some(Uuid::nil()),
            until: None,
        };
        assert_eq!(
            line(&mail, 3002),
            "00:00:00  mail   sent: Hi\u{fffd}[2J\u{fffd}there  to ann  \
             http://localhost:3002/outbox/00000000-0000-0000-0000-000000000000"
        );
        let mut seen = Seen::default();
        assert!(seen.is_new("k") && !seen.is_new("k"));
    }
}
