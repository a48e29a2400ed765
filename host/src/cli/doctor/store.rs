//! The database, Redis, and the work that waits in them.

use std::sync::Arc;

use chrono::TimeDelta;

use super::finding::{Finding, Outcome};
use crate::cache::Cache;
use crate::clock::Clock;
use crate::config::Config;
use crate::db::{self, Conn, Db, ServerFacts};
use crate::loops::BEAT;
use crate::pauses::{Pauses, Scope};

/// Clocks that differ by more than this confuse people, and by more than the second one, workers.
const SKEW: TimeDelta = TimeDelta::seconds(2);
const SKEW_MAX: TimeDelta = TimeDelta::seconds(30);
/// Work that has been due for longer than this waits for something.
const LATE_SECONDS: i64 = 300;

/// Examines the database and what waits in it.
pub async fn database(config: &Config) -> Vec<Finding> {
    const ABOUT: &str = "database";
    let Some(url) = &config.database_url else {
        let detail = "DATABASE_URL is not set: `hogsend dev` brings its own database";
        return vec![Finding::skipped(ABOUT, detail)];
    };
    let db = match Db::open(url, 2, false).await {
        Ok(db) => db,
        Err(error) => {
            return vec![Finding::of_sentence(
                Outcome::Failed,
                ABOUT,
                &error.to_string(),
            )];
        }
    };
    let found = examine(&db, config).await;
    db.close().await;
    found.unwrap_or_else(|error| {
        let detail = format!("a query failed ({error})");
        vec![Finding::failed(ABOUT, detail, "look at the database's log")]
    })
}

async fn examine(db: &Db, config: &Config) -> db::Result<Vec<Finding>> {
    let mut conn = db.conn().await?;
    let facts = db::server_facts(&mut conn).await?;
    let now = Clock::system().now();
    let mut found = vec![Finding::ok(
        "database",
        format!("Postgres {}, {}", facts.version, facts.encoding),
    )];
    found.push(clocks(now - facts.now));
    found.push(connections(&facts, config));
    found.push(extensions(&facts));
    let schema = db::schema_state(&mut conn).await?;
    if !schema.in_sync() {
        let detail = format!("migrations are pending: {}", schema.pending.join(", "));
        found.push(Finding::failed("schema", detail, "run `hogsend migrate`"));
        return Ok(found);
    }
    found.push(Finding::ok(
        "schema",
        "all migrations of this version are applied",
    ));
    work(&mut conn, config, &mut found).await?;
    Ok(found)
}

fn clocks(apart: TimeDelta) -> Finding {
    let seconds = apart.num_milliseconds() as f64 / 1_000.0;
    let detail = format!("this machine is {seconds:+.1} s apart from the database");
    let fix = "synchronise both clocks, for example with chrony";
    match apart.abs() {
        apart if apart > SKEW_MAX => Finding::failed("clock", detail, fix),
        apart if apart > SKEW => Finding::warning("clock", detail, fix),
        _ => Finding::ok("clock", detail),
    }
}

fn connections(facts: &ServerFacts, config: &Config) -> Finding {
    let pool = i64::try_from(config.database_pool_size).unwrap_or(i64::MAX);
    let free = facts.max_connections - facts.reserved;
    // At least one API and one worker, and a command.
    let wanted = pool * 2 + 2;
    let detail = format!(
        "an API and a worker use up to {wanted} of the {free} connections, {} are open",
        facts.connections
    );
    if wanted > free {
        let fix = format!(
            "raise max_connections, or set DATABASE_POOL_SIZE to at most {}",
            ((free - 2) / 2).max(4)
        );
        return Finding::failed("connections", detail, fix);
    }
    Finding::ok("connections", detail)
}

fn extensions(facts: &ServerFacts) -> Finding {
    let has = |name: &str| facts.extensions.iter().any(|one| one == name);
    let timescale = match has("timescaledb") {
        true => "timescaledb is there",
        false => "without timescaledb, which is optional",
    };
    if has("pg_trgm") {
        return Finding::ok("extensions", format!("pg_trgm is there, {timescale}"));
    }
    Finding::warning(
        "extensions",
        format!("pg_trgm is missing, so searches for contacts read every row; {timescale}"),
        "let a user who may run CREATE EXTENSION pg_trgm, then `hogsend migrate`",
    )
}

/// Workers, queues and pauses.
async fn work(conn: &mut Conn, config: &Config, found: &mut Vec<Finding>) -> db::Result<()> {
    let now = Clock::system().now();
    let missed = TimeDelta::from_std(BEAT * 3).unwrap_or_default();
    let workers = db::workers_seen(conn, now, missed).await?;
    found.push(match workers.count {
        0 if !config.production => Finding::skipped("worker", "none runs now"),
        0 => Finding::failed(
            "worker",
            "none was seen within 30 s: runs and mails wait",
            "start `hogsend worker`, and look at its log",
        ),
        count => Finding::ok("worker", format!("{count} run")),
    });
    let queues = db::queues(conn, now).await?;
    for (name, one) in [
        ("runs", queues.runs),
        ("mails", queues.mails),
        ("captures", queues.captures),
        ("webhooks", queues.webhooks),
    ] {
        let (due, waited) = (one.due, one.oldest_seconds(now));
        let about = format!("queue of {name}");
        let detail = format!("{due} are due, the oldest for {waited} s");
        found.push(match waited {
            late if late > LATE_SECONDS => Finding::warning(
                about,
                detail,
                "`findings` and `providers` in /v1/health say what holds them up; more workers help with many runs",
            ),
            _ => Finding::ok(about, detail),
        });
    }
    for pause in Pauses::load(conn, now).await?.lasting() {
        let scope = Scope::from(pause);
        let reason = pause.reason.as_deref().unwrap_or("no reason was given");
        let detail = format!(
            "{} is paused by {} ({reason})",
            scope.words(),
            pause.paused_by
        );
        let fix = format!(
            "when the reason is gone, `{}`",
            scope.resume_command(pause.cause)
        );
        found.push(Finding::warning("pauses", detail, fix));
    }
    Ok(())
}

/// Asks Redis whether it answers.
pub async fn redis(config: &Config) -> Finding {
    let Some(url) = config.redis_url.as_deref() else {
        return Finding::skipped("redis", "it is off, each process has a cache of its own");
    };
    let cache = Arc::new(Cache::connect(Some(url), Clock::system()));
    match cache.ping().await {
        Ok(latency) => Finding::ok(
            "redis",
            format!("it answers within {} ms", latency.as_millis()),
        ),
        Err(cause) => Finding::failed(
            "redis",
            format!("it is unavailable ({cause}): limits and caches count for each process alone"),
            "start it, correct REDIS_URL, or set REDIS_URL=off",
        ),
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};

    use super::*;
    use crate::config::Mode;

    fn facts(max: i64, extensions: &[&str]) -> ServerFacts {
        ServerFacts {
            version: "18.1".into(),
            encoding: "UTF8".into(),
            now: DateTime::UNIX_EPOCH,
            max_connections: max,
            reserved: 3,
            connections: 5,
            extensions: extensions.iter().map(|one| (*one).to_owned()).collect(),
        }
    }

    #[test]
    fn clocks_pools_and_extensions_are_judged() {
        for (millis, outcome) in [
            (0, Outcome::Ok),
            (-1_900, Outcome::Ok),
            (2_100, Outcome::Warning),
            (-31_000, Outcome::Failed),
        ] {
            assert_eq!(clocks(TimeDelta::milliseconds(millis)).outcome, outcome);
        }
        let (config, _) = Config::read(&|_| None, Mode::Worker);
        for (max, outcome) in [(100, Outcome::Ok), (37, Outcome::Ok), (36, Outcome::Failed)] {
            let found = connections(&facts(max, &[]), &config);
            assert_eq!(found.outcome, outcome, "{found:?}");
        }
        let fix = connections(&facts(25, &[]), &config).fix.unwrap();
        assert!(fix.contains("at most 10"), "{fix}");
        assert_eq!(extensions(&facts(9, &["pg_trgm"])).outcome, Outcome::Ok);
        assert_eq!(
            extensions(&facts(9, &["plpgsql"])).outcome,
            Outcome::Warning
        );
    }
}
