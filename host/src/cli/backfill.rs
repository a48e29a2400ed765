//! `hogsend backfill`.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use clap::Args;

use super::{Environment, require_schema, start, stop};
use crate::app::App;
use crate::audit::Actor;
use crate::backfill::{self, BackfillError, Begun, LEASE, Progress, Tally, Tools, Wanted};
use crate::config::Mode;
use crate::durations;

#[derive(Args)]
pub struct Backfill {
    /// The plugin's id, for example posthog
    source: String,
    /// From when on, for example 2026-03-02, 2026-03-02T09:00:00Z or 36h (so long ago). Not needed to go on
    #[arg(long, value_parser = instant)]
    since: Option<Moment>,
    /// Until when, in the same forms; by default now
    #[arg(long, value_parser = instant)]
    until: Option<Moment>,
    /// An event to read, as the source spells it; repeat for more. By default `BACKFILL_EVENTS`, else all
    #[arg(long = "event", value_name = "NAME")]
    events: Vec<String>,
    /// Only count what would be new, late and enrolled
    #[arg(long, requires = "since")]
    dry_run: bool,
    /// Give up an unfinished backfill of this source and begin this one
    #[arg(long, requires = "since", conflicts_with = "dry_run")]
    restart: bool,
}

/// A time as people write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    At(DateTime<Utc>),
    Ago(Duration),
}

impl Moment {
    fn at(self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Self::At(at) => at,
            Self::Ago(ago) => now - ago,
        }
    }
}

fn instant(text: &str) -> Result<Moment, String> {
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Ok(Moment::At(at.to_utc()));
    }
    if let Ok(day) = text.parse::<NaiveDate>() {
        return Ok(Moment::At(day.and_time(NaiveTime::MIN).and_utc()));
    }
    let ago = durations::parse(text).map(Moment::Ago);
    ago.ok_or_else(|| {
        "use a day in UTC (2026-03-02), a time with a zone (2026-03-02T09:00:00Z), or how long ago (36h)".into()
    })
}

pub async fn run(environment: &Environment, given: Backfill) -> anyhow::Result<()> {
    let app = start(environment, Mode::Command).await?.app;
    let done = Box::pin(run_in(&app, given)).await;
    app.db.close().await;
    done
}

async fn run_in(app: &App, given: Backfill) -> anyhow::Result<()> {
    require_schema(&app.db).await?;
    let now = app.clock.now();
    let events = match (given.since, given.events.is_empty()) {
        (Some(_), true) => app.config.backfill.events.clone(),
        _ => given.events,
    };
    let wanted = Wanted {
        source: given.source,
        since: given.since.map(|moment| moment.at(now)),
        until: given.until.map(|moment| moment.at(now)),
        events,
        restart: given.restart,
    };
    let tools = Tools {
        cx: app,
        naming: &app.naming,
    };
    let stop = stop::on_signal();
    let mut line = Line::new();
    if given.dry_run {
        let mut tell = |progress: &Progress<'_>| line.tell(progress);
        let tally = backfill::rehearse(tools, &wanted, &stop, &mut tell).await?;
        line.end();
        println!("nothing was stored. It would be {tally}");
        return Ok(());
    }
    let begun = begin(app, &wanted).await?;
    println!(
        "{} {} from {} to {}",
        if begun.resumed {
            "going on with"
        } else {
            "reading"
        },
        begun.source,
        begun.since.format("%F %T UTC"),
        begun.until.format("%F %T UTC"),
    );
    let mut tell = |progress: &Progress<'_>| line.tell(progress);
    let tally = backfill::read(tools, begun, &stop, &mut tell).await;
    line.end();
    println!("{}", tally?);
    Ok(())
}

/// Begins. Where another process reads the source but may be dead, waits as long as its lease lasts.
async fn begin(app: &App, wanted: &Wanted) -> Result<Begun, BackfillError> {
    let by = &Actor::Command;
    let first = match backfill::begin(app, by, wanted).await {
        Err(BackfillError::Running { free_at, .. }) => free_at,
        begun => return begun,
    };
    eprintln!(
        "another process reads {}: waiting whether it lives",
        wanted.source
    );
    let until = Instant::now() + LEASE + Duration::from_secs(2);
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        match backfill::begin(app, by, wanted).await {
            // It extended its lease.
            Err(error @ BackfillError::Running { free_at, .. }) if free_at > first => {
                return Err(error);
            }
            Err(BackfillError::Running { .. }) if Instant::now() < until => {}
            begun => return begun,
        }
    }
}

/// The progress: one line that is written over on a terminal, elsewhere a line now and then.
struct Line {
    terminal: bool,
    said_at: Option<Instant>,
    open: bool,
}

/// How often a line is written where it stays.
const EVERY: Duration = Duration::from_secs(10);
/// The width of the bar, in characters.
const BAR: usize = 24;

impl Line {
    fn new() -> Self {
        Self {
            terminal: std::io::stderr().is_terminal(),
            said_at: None,
            open: false,
        }
    }

    fn tell(&mut self, progress: &Progress<'_>) {
        let text = describe(progress);
        if self.terminal {
            // Back to the start of the line, which is then cleared (ECMA-48 §8.3.41, EL).
            eprint!("\r{text}\x1b[K");
            let _ = std::io::stderr().flush();
            self.open = true;
        } else if self.said_at.is_none_or(|at| at.elapsed() >= EVERY) {
            eprintln!("{text}");
            self.said_at = Some(Instant::now());
        }
    }

    fn end(&mut self) {
        if std::mem::take(&mut self.open) {
            eprintln!();
        }
    }
}

/// The part of the time that is read, and the counts.
fn describe(progress: &Progress<'_>) -> String {
    let Progress {
        since,
        until,
        at,
        tally,
        waiting,
    } = progress;
    let all = (*until - *since).num_seconds().max(1);
    let read = at.map_or(0, |at| (at - *since).num_seconds().clamp(0, all));
    let percent = read * 100 / all;
    let full = usize::try_from(percent).unwrap_or(0) * BAR / 100;
    let bar = format!("{}{}", "#".repeat(full), "-".repeat(BAR - full));
    let Tally { new, .. } = tally;
    let mut text = format!("[{bar}] {percent:>3} %, {} read, {new} new", tally.read());
    if let Some((wait, why)) = waiting {
        text += &format!(", waiting {} s: {why}", wait.as_secs().max(1));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chrono::{DateTime, TimeDelta};

    use super::{Moment, describe, instant};
    use crate::backfill::{Progress, Tally};

    #[test]
    fn a_time_is_a_day_an_instant_or_an_age() {
        let at = |text: &str| Ok(Moment::At(text.parse().unwrap()));
        assert_eq!(instant("2026-03-02"), at("2026-03-02T00:00:00Z"));
        assert_eq!(
            instant("2026-03-02T10:00:00+01:00"),
            at("2026-03-02T09:00:00Z")
        );
        assert_eq!(
            instant("36h"),
            Ok(Moment::Ago(Duration::from_secs(129_600)))
        );
        for wrong in ["yesterday", "2026-03-02T10:00:00", "", "-3h"] {
            assert!(instant(wrong).unwrap_err().contains("36h"), "{wrong}");
        }
    }

    #[test]
    fn progress_is_the_part_of_the_time_that_is_read() {
        let since = DateTime::UNIX_EPOCH;
        let tally = Tally {
            new: 2,
            known: 3,
            ..Tally::default()
        };
        let mut progress = Progress {
            since,
            until: since + TimeDelta::hours(4),
            at: Some(since + TimeDelta::hours(1)),
            tally: &tally,
            waiting: None,
        };
        let quarter = "[######------------------]  25 %, 5 read, 2 new";
        assert_eq!(describe(&progress), quarter);
        progress.waiting = Some((Duration::from_secs(60), "the rate limit is reached"));
        let waiting = format!("{quarter}, waiting 60 s: the rate limit is reached");
        assert_eq!(describe(&progress), waiting);
    }
}
