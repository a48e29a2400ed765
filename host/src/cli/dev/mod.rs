//! `hogsend dev`: API and worker in one process.

mod cache;
mod console;
mod watch;

pub use cache::in_data_folder;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use secrecy::ExposeSecret;

use super::start::warn_of_keys;
use super::{Environment, Started, start, stop};
use crate::app::App;
use crate::config::Mode;
use crate::http::sample;
use crate::{db, http, worker};
use watch::Watch;

#[derive(Args)]
pub struct Dev {
    /// Load this plugin library too, for example target/debug/libacme.so; may be given several times
    #[arg(long = "plugin", value_name = "FILE")]
    plugins: Vec<PathBuf>,
    /// Reload plugins and templates when their files change
    #[arg(long)]
    watch: bool,
}

/// Migrates the database, then runs API and worker.
pub async fn dev(environment: &Environment, wanted: Dev) -> anyhow::Result<()> {
    let Started {
        app,
        installation,
        delivery,
    } = start::start_with(environment, Mode::Dev, wanted.plugins).await?;
    let watch = match wanted.watch {
        true => Some(Watch::begin(&app, &installation)?),
        false => None,
    };
    db::migrate(&app.db).await?;
    warn_of_keys(&app).await?;
    let listener = http::bind(app.config.host, app.config.port)?;
    let stop = stop::on_signal();
    http::serve_health(&app, &stop)?;
    http::serve_metrics(&app, &stop)?;
    welcome(&app, &delivery);
    let console = tokio::spawn(console::run(app.clone(), stop.clone()));
    if let Some(watch) = watch {
        tokio::spawn(watch.run(app.clone(), installation, stop.clone()));
    }
    // If one of the two ends, so does the other.
    let worker = async {
        let ended = tokio::spawn(worker::run(app.clone(), stop.clone())).await;
        stop.cancel();
        anyhow::Ok(ended??)
    };
    // No load balancer routes requests here, so there is nothing to wait for before stopping.
    let api = async {
        let served = super::serve(&app, listener, stop.clone(), Duration::ZERO).await;
        stop.cancel();
        served
    };
    let (worked, served) = tokio::join!(worker, api);
    console.await?;
    app.db.close().await;
    worked.and(served)
}

/// Prints where everything is and what to try.
fn welcome(app: &App, delivery: &str) {
    let config = &app.config;
    let url = format!("http://localhost:{}", config.port);
    let database = if app.db.is_embedded() {
        format!("embedded, in {}", config.data_dir.display())
    } else {
        "DATABASE_URL".to_owned()
    };
    let plugins = app.plugins();
    let plugins: Vec<_> = plugins
        .info()
        .iter()
        .map(|plugin| plugin.id.as_str())
        .collect();
    let reach = match config.host {
        Some(host) if host.is_loopback() => "this machine alone".to_owned(),
        Some(host) => format!("everyone who can reach {host}"),
        None => "everyone who can reach this machine".to_owned(),
    };
    println!(
        "Hogsend {} listens on {url}, to {reach}",
        env!("CARGO_PKG_VERSION")
    );
    println!("  start     {url}/  says what to do next");
    println!("  database  {database}");
    println!("  plugins   {}", plugins.join(", "));
    println!("  mail      goes through {delivery}; see {url}/outbox");
    if !config.production {
        println!("  API       {url}/docs");
    }
    if config.development_key
        && let Some(key) = &config.admin_api_key
    {
        let file = config.data_dir.join(crate::keys::KEY_FILE);
        println!(
            "  key       {}  for /v1/admin on this machine, kept in {}",
            key.expose_secret(),
            file.display()
        );
    }
    for (alias, event) in config.aliases.iter() {
        println!("  alias     {alias} is stored as {event}");
    }
    if let Some(line) = sample::webhook(&url, app) {
        println!("\nTry it:\n{line}\n");
    }
}
