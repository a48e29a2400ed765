//! Probes of the process's dependencies, each with a time limit.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

use super::out::{
    BacklogOut, Component, Components, Details, EngineComponent, Health, HealthOut, PluginOut,
    ProviderOut, QueueOut, Schema, SchemaNames, SchemaOut, Status, WorkerComponent,
};
use crate::app::App;
use crate::clock::since_start;
use crate::db::{self, EngineSeen, HoldKind, PauseRow, Queues, SchemaState, WorkersSeen};
use crate::loops::BEAT;
use crate::mail::{self, ProviderState, Taking};
use crate::pauses::{Pauses, Scope};
use crate::states::PauseCause;
use crate::worker::engine;

/// The time limit of each probe.
pub(super) const PROBE: Duration = Duration::from_millis(1_500);

/// The health with all details.
pub async fn look(app: &App) -> HealthOut {
    let (database, redis) = tokio::join!(
        tokio::time::timeout(PROBE, probe_database(app)),
        probe_redis(app)
    );
    let mut findings = Vec::new();
    let probe = match database {
        Ok(Ok(probe)) => Some(probe),
        Ok(Err(error)) => {
            findings.push(format!(
                "The database does not answer ({error}): nothing is stored or sent until it does."
            ));
            None
        }
        Err(_) => {
            findings.push(format!(
                "The database did not answer within {} ms: look at its load and its connections.",
                PROBE.as_millis()
            ));
            None
        }
    };
    let (redis, cause) = redis;
    if let Some(cause) = cause {
        findings.push(format!(
            "Redis is unavailable ({cause}): this process counts limits and caches on its own. To run without Redis, set REDIS_URL=off."
        ));
    }
    let now = app.clock.now();
    let in_sync = probe.as_ref().is_some_and(|probe| probe.schema.in_sync());
    let seen = probe.as_ref().and_then(|probe| probe.workers.as_ref());
    let workers = seen.map(|seen| seen.count);
    let worker = match workers {
        Some(count) if count > 0 => Status::Up,
        _ => Status::Down,
    };
    if in_sync && worker == Status::Down {
        findings.push(
            "No worker is running: runs and mails wait. Start one with `hogsend worker`.".into(),
        );
    }
    if let Some(probe) = probe.as_ref().filter(|_| !in_sync) {
        findings.push(format!(
            "The database lacks migrations ({}): run `hogsend migrate`.",
            probe.schema.pending.join(", ")
        ));
    }
    findings.extend(app.naming.findings());
    let providers = probe.as_ref().map_or(&[][..], |probe| &probe.providers);
    findings.extend(providers.iter().filter_map(finding));
    let blocked = providers.iter().any(|one| one.taking() == Taking::Blocked);
    let engines = probe.as_ref().map_or(&[][..], |probe| &probe.engines);
    findings.extend(engines_differ(engines));
    let engine = engine(app, engines, probe.as_ref().and_then(|one| one.lag_seconds));
    if let Some(probe) = &probe {
        findings.extend(probe.findings.iter().cloned());
        findings.extend(probe.pauses.lasting().map(paused));
    }
    let halted = probe.as_ref().is_some_and(|probe| {
        let mut lasting = probe.pauses.lasting();
        lasting.any(|pause| pause.cause == PauseCause::Restore)
    });
    let status = match &probe {
        Some(_) if !in_sync => Health::MigrationPending,
        Some(_)
            if [worker, engine.status] == [Status::Up; 2]
                && redis.status != Status::Down
                && !blocked
                && !halted =>
        {
            Health::Healthy
        }
        _ => Health::Degraded,
    };
    let plugins = app.plugins();
    let plugins = plugins.info().iter().map(|plugin| PluginOut {
        id: plugin.id.clone(),
        version: plugin.version.clone(),
        kinds: plugin.kinds.clone(),
        origin: plugin.origin,
    });
    HealthOut {
        status,
        uptime: since_start().as_secs_f64(),
        timestamp: now,
        details: Details {
            version: Some(env!("CARGO_PKG_VERSION")),
            providers: probe.as_ref().map(|probe| {
                let all = probe.providers.iter().map(|one| ProviderOut {
                    id: one.id.clone(),
                    purposes: one.purposes.iter().map(|purpose| purpose.name()).collect(),
                    state: one.taking().name(),
                    reason: one.reason(),
                    until: one.until(),
                });
                all.collect()
            }),
            queue: probe.as_ref().map(|probe| queue(&probe.queues, now)),
            plugins: Some(plugins.collect()),
            pending_changes: probe.as_ref().map(|probe| probe.pending),
            event_aliases: Some(app.config.aliases.to_map()),
            paused: probe.as_ref().map(|probe| {
                let lasting = probe.pauses.lasting();
                lasting.map(|one| Scope::from(one).to_string()).collect()
            }),
            findings: Some(findings),
        },
        components: Components {
            database: match &probe {
                Some(probe) => Component::up(probe.latency),
                None => Component::DOWN,
            },
            redis,
            worker: WorkerComponent {
                status: worker,
                last_seen_at: seen.and_then(|seen| seen.last),
                count: workers,
            },
            engine,
        },
        schema: schema(probe.map(|probe| probe.schema)),
    }
}

impl Component {
    fn up(latency: Duration) -> Self {
        Self {
            status: Status::Up,
            latency_ms: Some(latency.as_millis() as u64),
        }
    }

    const DOWN: Self = Self {
        status: Status::Down,
        latency_ms: None,
    };
}

fn schema(state: Option<SchemaState>) -> Schema {
    let in_sync = state.as_ref().is_some_and(SchemaState::in_sync);
    let (applied, required, pending) = match state {
        Some(state) => (state.applied, state.required, state.pending),
        None => (None, None, Vec::new()),
    };
    let names = SchemaNames {
        applied: Some(applied),
        required: Some(required),
        pending: Some(pending),
    };
    Schema {
        client: SchemaOut {
            in_sync: true,
            names: SchemaNames {
                pending: Some(Vec::new()),
                ..names.clone()
            },
        },
        engine: SchemaOut { in_sync, names },
    }
}

/// The engine that most live workers run. Without a worker, the one that this process's settings choose.
fn engine(app: &App, engines: &[EngineSeen], lag_seconds: Option<i64>) -> EngineComponent {
    let most = engines.first();
    let kind = match most {
        Some(one) => engine_kind(one),
        None => engine::chosen(&app.config),
    };
    EngineComponent {
        kind: Some(kind.to_owned()),
        status: match most {
            Some(one) if one.up => Status::Up,
            _ => Status::Down,
        },
        version: most.and_then(|one| one.version.clone()),
        lag_seconds,
    }
}

fn engine_kind(seen: &EngineSeen) -> &str {
    seen.kind.as_deref().unwrap_or(engine::unreported())
}

/// The finding about workers with different engines.
fn engines_differ(engines: &[EngineSeen]) -> Option<String> {
    let named = |one: &EngineSeen| format!("{} with {}", one.workers, engine_kind(one));
    let each: Vec<String> = engines.iter().map(named).collect();
    let kinds: std::collections::BTreeSet<&str> = engines.iter().map(engine_kind).collect();
    (kinds.len() > 1).then(|| {
        format!(
            "Workers run different engines ({}): runs go on, but give all workers the same settings.",
            each.join(", ")
        )
    })
}

/// The finding about a provider that takes no mail.
fn finding(provider: &ProviderState) -> Option<String> {
    let hold = provider.holds.first()?;
    let id = &provider.id;
    let reason = provider.reason()?;
    match hold.kind {
        HoldKind::Limit => None,
        HoldKind::Rest => Some(format!(
            "The provider {id} failed several times in a row ({reason}): mails wait or go to the next provider, and one mail tests it every 30 seconds."
        )),
        HoldKind::Block => Some(format!(
            "The provider {id} takes no mail until someone acts ({reason}): mails wait or go to the next provider, and one mail tests it every 30 seconds."
        )),
    }
}

/// The finding about a pause.
fn paused(pause: &PauseRow) -> String {
    let scope = Scope::from(pause);
    let mut what = scope.words();
    what[..1].make_ascii_uppercase();
    let reason = pause.reason.as_ref();
    format!(
        "{what} has been paused since {} by {}{}: nothing of it is sent until `{}`.",
        pause.since.format("%F %T UTC"),
        pause.paused_by,
        reason.map_or(String::new(), |reason| format!(" ({reason})")),
        scope.resume_command(pause.cause),
    )
}

fn queue(queues: &Queues, now: DateTime<Utc>) -> QueueOut {
    let out = |one: db::Backlog| BacklogOut {
        due: one.due,
        oldest_seconds: one.oldest_seconds(now),
    };
    QueueOut {
        runs: out(queues.runs),
        mails: out(queues.mails),
        captures: out(queues.captures),
        webhooks: out(queues.webhooks),
    }
}

struct Probe {
    latency: Duration,
    schema: SchemaState,
    workers: Option<WorkersSeen>,
    engines: Vec<EngineSeen>,
    lag_seconds: Option<i64>,
    pauses: Pauses,
    providers: Vec<ProviderState>,
    queues: Queues,
    pending: i64,
    /// What the workers themselves report.
    findings: Vec<String>,
}

async fn probe_database(app: &App) -> db::Result<Probe> {
    let mut conn = app.db.conn().await?;
    let started = Instant::now();
    let schema = db::schema_state(&mut conn).await?;
    let latency = started.elapsed();
    let mut probe = Probe {
        latency,
        schema,
        workers: None,
        engines: Vec::new(),
        lag_seconds: None,
        pauses: Pauses::default(),
        providers: Vec::new(),
        queues: Queues::default(),
        pending: 0,
        findings: Vec::new(),
    };
    // Before the first migration the tables do not exist.
    if probe.schema.in_sync() {
        let now = app.clock.now();
        let missed = TimeDelta::from_std(BEAT * 3).unwrap_or_default();
        probe.workers = Some(db::workers_seen(&mut conn, now, missed).await?);
        probe.engines = db::engines_seen(&mut conn, now, missed).await?;
        probe.findings = db::worker_findings(&mut conn, now - missed).await?;
        let due = db::state_next_due(&mut conn).await?;
        probe.lag_seconds = Some(due.map_or(0, |due| (now - due).num_seconds().max(0)));
        probe.pauses = Pauses::load(&mut conn, now).await?;
        probe.providers = mail::provider_states(app, &mut conn, now).await?;
        probe.queues = db::queues(&mut conn, now).await?;
        probe.pending = db::pending_count(&mut conn, None).await?;
    }
    Ok(probe)
}

/// The status of Redis, and the cause if it is down.
async fn probe_redis(app: &App) -> (Component, Option<String>) {
    if app.cache.is_off() {
        let off = Component {
            status: Status::Off,
            latency_ms: None,
        };
        return (off, None);
    }
    match tokio::time::timeout(PROBE, app.cache.ping()).await {
        Ok(Ok(latency)) => (Component::up(latency), None),
        Ok(Err(cause)) => (Component::DOWN, Some(cause)),
        Err(_) => (Component::DOWN, Some("it does not answer".into())),
    }
}

/// Whether this process can serve: it is not shutting down, and the database answers and is up to date.
pub async fn is_ready(app: &App) -> bool {
    let state = async {
        let mut conn = app.db.conn().await?;
        db::schema_state(&mut conn).await
    };
    let state = tokio::time::timeout(PROBE, state).await;
    state.is_ok_and(|state| state.is_ok_and(|state| state.in_sync()))
}
