//! `hogsend engine status`.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use crate::cli::table::table;
use crate::cli::{Environment, start};
use crate::clock::Clock;
use crate::db::{self, Backlog, Conn};
use crate::loops::BEAT;
use crate::worker::engine;

/// What `hogsend engine status` prints.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StatusOut {
    /// The engine that the settings of this command choose.
    chosen: &'static str,
    engines: Vec<EngineOut>,
    runs: RunsOut,
}

/// The live workers with one engine.
#[derive(Serialize)]
struct EngineOut {
    kind: String,
    workers: i64,
    status: &'static str,
    version: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RunsOut {
    due: i64,
    /// How many seconds the run has waited that has been due longest.
    lag_seconds: i64,
    /// Open runs that are not due.
    waiting: i64,
    /// Wake-ups that the engine does not have yet.
    unrelayed_wakes: i64,
    oldest_wake_seconds: i64,
}

pub async fn status(environment: &Environment, json: bool) -> anyhow::Result<()> {
    let (db, config) = start::open(environment).await?;
    let read = async {
        let mut conn = db.conn().await?;
        read(&mut conn, engine::chosen(&config), Clock::system().now()).await
    };
    let read = read.await;
    db.close().await;
    let out = read?;
    if json {
        println!("{}", serde_json::to_string_pretty(&out)?);
    } else {
        print!("{}", shown(&out));
    }
    Ok(())
}

async fn read(conn: &mut Conn, chosen: &'static str, now: DateTime<Utc>) -> db::Result<StatusOut> {
    let missed = TimeDelta::from_std(BEAT * 3).unwrap_or_default();
    let engines = db::engines_seen(conn, now, missed).await?;
    let runs = db::runs_to_wake(conn, now).await?;
    let age = |backlog: Backlog| backlog.oldest_seconds(now);
    Ok(StatusOut {
        chosen,
        engines: engines
            .into_iter()
            .map(|one| EngineOut {
                kind: one.kind.unwrap_or_else(|| engine::unreported().into()),
                workers: one.workers,
                status: if one.up { "up" } else { "down" },
                version: one.version,
            })
            .collect(),
        runs: RunsOut {
            due: runs.due.due,
            lag_seconds: age(runs.due),
            waiting: runs.waiting,
            unrelayed_wakes: runs.unrelayed.due,
            oldest_wake_seconds: age(runs.unrelayed),
        },
    })
}

fn shown(out: &StatusOut) -> String {
    let mut rows = vec![["ENGINE", "WORKERS", "STATUS", "VERSION"].map(str::to_owned)];
    rows.extend(out.engines.iter().map(|one| {
        let version = one.version.clone().unwrap_or_default();
        let workers = one.workers.to_string();
        [one.kind.clone(), workers, one.status.to_owned(), version]
    }));
    let engines = if out.engines.is_empty() {
        "no worker is running: start one with `hogsend worker`".to_owned()
    } else {
        table(rows).trim_fmt()
    };
    let runs = &out.runs;
    let mut shown = format!(
        "{engines}\n\nruns: {} due (for {} s at most), {} waiting\n",
        runs.due, runs.lag_seconds, runs.waiting
    );
    if runs.unrelayed_wakes > 0 {
        shown.push_str(&format!(
            "wake-ups that the engine does not have yet: {} (for {} s at most)\n",
            runs.unrelayed_wakes, runs.oldest_wake_seconds
        ));
    }
    if out.engines.iter().any(|one| one.kind != out.chosen) {
        shown.push_str(&format!(
            "the settings of this command choose '{}': a worker started with them runs another engine than \
             those above\n",
            out.chosen
        ));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(engines: Vec<EngineOut>) -> StatusOut {
        StatusOut {
            chosen: "embedded",
            engines,
            runs: RunsOut {
                due: 2,
                lag_seconds: 4,
                waiting: 1_000,
                unrelayed_wakes: 3,
                oldest_wake_seconds: 1,
            },
        }
    }

    #[test]
    fn each_engine_has_a_line_and_another_than_the_chosen_one_is_named() {
        let engine = |kind: &str, workers| EngineOut {
            kind: kind.into(),
            workers,
            status: "up",
            version: Some("1.2.3".into()),
        };
        assert_eq!(
            shown(&status(vec![engine("outside", 2), engine("embedded", 1)])),
            "ENGINE    WORKERS  STATUS  VERSION\n\
             outside   2        up      1.2.3\n\
             embedded  1        up      1.2.3\n\n\
             runs: 2 due (for 4 s at most), 1000 waiting\n\
             wake-ups that the engine does not have yet: 3 (for 1 s at most)\n\
             the settings of this command choose 'embedded': a worker started with them runs another engine than \
             those above\n"
        );
        let none = shown(&status(Vec::new()));
        assert!(none.starts_with("no worker is running"), "{none}");
    }
}
