//! The command line.

mod admin;
mod backfill;
mod connect;
mod dev;
mod doctor;
mod engine;
mod environment;
mod journeys;
mod key;
mod pause;
mod plugin;
mod plugin_host;
mod plugin_new;
mod print;
mod reload;
mod secret;
mod settings;
mod start;
mod stop;
mod table;
mod templates;

pub use environment::Environment;
pub use reload::reload;
pub use start::{Started, start};

use std::io;
use std::net::TcpListener;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::{Parser, Subcommand};
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::clock::Clock;
use crate::config::Mode;
use crate::crew::Crew;
use crate::db::{self, Db};
use crate::plugins::ExitGuard;
use crate::{http, memory, restore, telemetry, worker};

/// Self-hosted lifecycle email: product events in, durable journeys, mail out.
#[derive(Parser)]
#[command(name = "hogsend", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run API and worker in one process, with an embedded database unless DATABASE_URL is set
    Dev(dev::Dev),
    /// Serve the HTTP API
    Api,
    /// Advance journeys and deliver mail
    Worker,
    /// Bring the database schema up to date
    Migrate,
    /// Create, list and remove administrators
    #[command(subcommand)]
    Admin(admin::AdminCommand),
    /// List every setting of the host, with its purpose
    Settings {
        /// Print the table of README.md
        #[arg(long)]
        markdown: bool,
    },
    /// Examine settings, stores, plugins, webhook secrets, public URL and the sender's domain
    Doctor(doctor::Doctor),
    /// Stop sending everything, a journey or a category; everything goes on being stored
    Pause {
        #[command(flatten)]
        covered: pause::Covered,
        /// Why, for colleagues
        #[arg(long)]
        reason: Option<String>,
    },
    /// Go on with what was paused
    Resume(pause::Resume),
    /// Read the events that a source kept while this installation was away
    Backfill(backfill::Backfill),
    /// Show what to enter at a vendor, and enter it there if its API allows that
    Connect(connect::Connect),
    /// Show what wakes runs: the engine of the workers
    #[command(subcommand)]
    Engine(engine::EngineCommand),
    /// Show, check, add and remove plugins
    #[command(subcommand, visible_alias = "plugins")]
    Plugin(plugin::PluginCommand),
    /// Show and simulate journeys, and handle their broken runs
    #[command(subcommand)]
    Journeys(JourneysCommand),
    /// Show and render mail templates, and write them as files to change
    #[command(subcommand)]
    Templates(templates::TemplatesCommand),
    /// Print the completions of a shell, for example into /etc/bash_completion.d/hogsend
    Completions {
        #[arg(value_enum)]
        shell: print::Shell,
    },
    /// Print the OpenAPI document of the HTTP API
    Openapi,
    /// Run one plugin for another process of Hogsend, which starts this
    #[command(subcommand, hide = true)]
    PluginHost(plugin_host::PluginHostCommand),
}

#[derive(Subcommand)]
enum JourneysCommand {
    /// List every journey of every plugin
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Simulate a journey with events from a file, without a database, and print the result
    Simulate(journeys::Simulate),
    #[command(flatten)]
    Runs(journeys::runs::RunCommand),
}

/// How often a worker checks for the migrations it waits for, and how often it logs that it waits.
const SCHEMA_LOOK: Duration = Duration::from_secs(2);
const SCHEMA_LOG: Duration = Duration::from_secs(60);

/// Exit code of a command that was given wrong settings (sysexits' EX_CONFIG).
const BAD_CONFIG: u8 = 78;

/// Reads the command line and runs it.
pub fn main() -> ExitCode {
    let command = match Cli::parse().command {
        Command::PluginHost(command) => return plugin_host::run(command),
        Command::Completions { shell } => return told(print::completions(shell)),
        Command::Openapi => return told(print::openapi()),
        command => command,
    };
    crate::clock::since_start();
    memory::use_small_pages();
    let environment = Environment::of_process();
    if matches!(command, Command::Dev(_))
        && let Some(data_dir) = environment.own_database()
    {
        dev::in_data_folder(&environment, &data_dir);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("hogsend: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let guard = ExitGuard::set();
    let ended = runtime.block_on(async {
        let ended = run(command, &environment).await;
        telemetry::flush().await;
        ended
    });
    drop(guard);
    // A plugin call that hangs must not hold up the end of the process.
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        // It has printed what it found.
        Err(error) if error.is::<Unsound>() => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("hogsend: {error:#}");
            if error.is::<Misconfigured>() {
                ExitCode::from(BAD_CONFIG)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

/// The exit code of a command that only prints. A reader that stopped reading is no failure.
fn told<E: Into<anyhow::Error>>(done: Result<(), E>) -> ExitCode {
    let Err(error) = done else {
        return ExitCode::SUCCESS;
    };
    let error = error.into();
    let closed = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    if error.downcast_ref().is_some_and(closed) {
        return ExitCode::SUCCESS;
    }
    eprintln!("hogsend: {error:#}");
    ExitCode::FAILURE
}

/// `hogsend doctor` found something that does not work.
#[derive(Debug, thiserror::Error)]
#[error("something does not work")]
struct Unsound;

/// All problems with the settings, one per line.
#[derive(Debug, Default)]
pub struct Misconfigured {
    pub problems: Vec<String>,
    /// Hints that may be related to the problems.
    pub notes: Vec<String>,
}

impl std::fmt::Display for Misconfigured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.problems.len() {
            1 => write!(f, "cannot start, 1 problem to fix:")?,
            several => write!(f, "cannot start, {several} problems to fix:")?,
        }
        for problem in &self.problems {
            write!(f, "\n  {problem}")?;
        }
        if !self.notes.is_empty() {
            write!(f, "\npossibly related:")?;
        }
        for note in &self.notes {
            write!(f, "\n  {note}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Misconfigured {}

impl Misconfigured {
    fn of<T: std::fmt::Display>(problems: &[T]) -> Self {
        Self {
            problems: problems.iter().map(ToString::to_string).collect(),
            notes: Vec::new(),
        }
    }
}

async fn run(command: Command, environment: &Environment) -> anyhow::Result<()> {
    match command {
        Command::Dev(wanted) => Box::pin(dev::dev(environment, wanted)).await,
        Command::Api => api(environment).await,
        Command::Worker => Box::pin(work(environment)).await,
        Command::Migrate => migrate(environment).await,
        Command::Admin(command) => admin::run(environment, command).await,
        Command::Settings { markdown } => {
            settings::list(environment, markdown);
            Ok(())
        }
        Command::Doctor(wanted) => match Box::pin(doctor::run(environment, &wanted)).await? {
            true => Ok(()),
            false => Err(Unsound.into()),
        },
        Command::Pause { covered, reason } => {
            pause::pause(environment, covered, reason.as_deref()).await
        }
        Command::Resume(wanted) => pause::resume(environment, wanted).await,
        Command::Backfill(wanted) => Box::pin(backfill::run(environment, wanted)).await,
        Command::Connect(wanted) => Box::pin(connect::run(environment, wanted)).await,
        Command::Engine(command) => Box::pin(engine::run(environment, command)).await,
        Command::Plugin(command) => Box::pin(plugin::run(environment, command)).await,
        Command::Journeys(JourneysCommand::List { json }) => {
            journeys::list(environment, json).await
        }
        Command::Journeys(JourneysCommand::Simulate(wanted)) => {
            Box::pin(journeys::simulate(environment, wanted)).await
        }
        Command::Templates(command) => Box::pin(templates::run(environment, command)).await,
        // `main` runs them without a runtime.
        Command::PluginHost(_) | Command::Completions { .. } | Command::Openapi => Ok(()),
        Command::Journeys(JourneysCommand::Runs(command)) => {
            Box::pin(journeys::runs::run(environment, command)).await
        }
    }
}

async fn api(environment: &Environment) -> anyhow::Result<()> {
    let Started {
        app, installation, ..
    } = start(environment, Mode::Api).await?;
    if !app.config.skip_schema_check {
        require_schema(&app.db).await?;
        start::warn_of_keys(&app).await?;
        restore::learn(&app).await?;
    }
    let listener = http::bind(app.config.host, app.config.port)?;
    let stop = stop::on_signal();
    reload::on_hangup(&app, installation, &stop);
    http::serve_health(&app, &stop)?;
    http::serve_metrics(&app, &stop)?;
    tracing::info!(port = app.config.port, "the API listens");
    let served = serve(&app, listener, stop, http::DRAIN).await;
    app.db.close().await;
    served
}

/// Serves the API and runs the committers that store its events. Ends when either ends.
async fn serve(
    app: &App,
    listener: TcpListener,
    stop: CancellationToken,
    drain: Duration,
) -> anyhow::Result<()> {
    // A separate token: the committers run until the last request is answered.
    let mut crew = Crew::new(CancellationToken::new());
    app.ingestor.start(&mut crew);
    worker::watch(app, &mut crew);
    tokio::select! {
        served = http::serve(app.clone(), listener, stop, drain) => served,
        ended = crew.ended() => Ok(ended?),
    }
}

async fn work(environment: &Environment) -> anyhow::Result<()> {
    let Started {
        app, installation, ..
    } = start(environment, Mode::Worker).await?;
    let stop = stop::on_signal();
    reload::on_hangup(&app, installation, &stop);
    // Before the wait, so that the health endpoint shows what the worker waits for.
    http::serve_health(&app, &stop)?;
    let ended = if app.config.skip_schema_check || wait_for_schema(&app.db, &stop).await? {
        Box::pin(worker::run(app.clone(), stop)).await
    } else {
        Ok(())
    };
    app.db.close().await;
    Ok(ended?)
}

/// Waits until the database has every migration of this binary, since a platform may start the new
/// worker before the deployment of the API has migrated. False if the process has to stop first.
async fn wait_for_schema(db: &Db, stop: &CancellationToken) -> anyhow::Result<bool> {
    let mut logged_at: Option<Instant> = None;
    while !stop.is_cancelled() {
        let waits_for = match pending(db).await {
            Ok(None) => {
                if logged_at.is_some() {
                    tracing::info!("the database now has all migrations");
                }
                return Ok(true);
            }
            Ok(Some(pending)) => format!("the database lacks migrations: {pending}"),
            // It answered before, so this may be temporary.
            Err(error) if logged_at.is_some() && db::is_unavailable(&error) => {
                format!("the database does not answer: {error}")
            }
            Err(error) => return Err(error.into()),
        };
        if logged_at.is_none_or(|at| at.elapsed() >= SCHEMA_LOG) {
            logged_at = Some(Instant::now());
            tracing::warn!(
                "{waits_for}. The worker waits until `hogsend migrate` has run; \
                 to start it anyway, set SKIP_SCHEMA_CHECK=true"
            );
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(SCHEMA_LOOK) => {}
        }
    }
    Ok(false)
}

async fn migrate(environment: &Environment) -> anyhow::Result<()> {
    let config = environment.config(Mode::Migrate)?;
    telemetry::init(&config);
    let url = config.database_url.context("DATABASE_URL is required")?;
    let db = Db::open(&url, 2, true).await?;
    let before = db::schema_state(&mut *db.conn().await?).await?;
    db::migrate(&db).await?;
    for name in &before.pending {
        println!("applied {name}");
    }
    println!("the schema is up to date");
    match db::partition_events(&db, Clock::system().now()).await {
        Ok(Some(done)) => println!("{done}"),
        Ok(None) => {}
        Err(error) => println!(
            "the table of events stays as it is, and the next `hogsend migrate` tries again: {error}"
        ),
    }
    if let Err(error) = db::index_searches(&db).await {
        println!(
            "searches for contacts will scan every row: the extension pg_trgm is not available \
             ({error})"
        );
    }
    db.close().await;
    Ok(())
}

/// Refuses a database that lacks migrations of this binary.
async fn require_schema(db: &Db) -> anyhow::Result<()> {
    let Some(pending) = pending(db).await? else {
        return Ok(());
    };
    anyhow::bail!(
        "the database lacks migrations: {pending}. Run `hogsend migrate`, or set \
         SKIP_SCHEMA_CHECK=true to start anyway"
    )
}

/// The migrations of this binary that the database lacks, by name.
async fn pending(db: &Db) -> db::Result<Option<String>> {
    let schema = db::schema_state(&mut *db.conn().await?).await?;
    Ok((!schema.in_sync()).then(|| schema.pending.join(", ")))
}
