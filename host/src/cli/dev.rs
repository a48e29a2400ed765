//! `hogsend dev`: everything in one process.

use std::time::Duration;

use super::start::warn_of_keys;
use super::{Environment, Started, start, stop};
use crate::app::App;
use crate::config::Mode;
use crate::{db, http, worker};

/// Runs API and worker together, with the schema brought up to date first.
pub async fn dev(environment: &Environment) -> anyhow::Result<()> {
    let Started { app, delivery } = start(environment, Mode::Dev).await?;
    db::migrate(&app.db).await?;
    warn_of_keys(&app).await?;
    let listener = http::bind(app.config.host, app.config.port)?;
    let stop = stop::on_signal();
    welcome(&app, &delivery);
    // Where one of the two ends, so does the other.
    let worker = async {
        let ended = tokio::spawn(worker::run(app.clone(), stop.clone())).await;
        stop.cancel();
        anyhow::Ok(ended??)
    };
    // Nobody routes requests here: a developer waits for the end.
    let api = async {
        let served = super::serve(&app, listener, stop.clone(), Duration::ZERO).await;
        stop.cancel();
        served
    };
    let (worked, served) = tokio::join!(worker, api);
    app.db.close().await;
    worked.and(served)
}

/// Says where everything is and what to try.
fn welcome(app: &App, delivery: &str) {
    let url = format!("http://localhost:{}", app.config.port);
    let database = if app.db.is_embedded() {
        format!("embedded, in {}", app.config.data_dir.display())
    } else {
        "DATABASE_URL".to_owned()
    };
    let plugins: Vec<_> = app
        .plugins
        .info()
        .iter()
        .map(|plugin| plugin.id.as_str())
        .collect();
    println!("Hogsend {} listens on {url}", env!("CARGO_PKG_VERSION"));
    println!("  database  {database}");
    println!("  plugins   {}", plugins.join(", "));
    println!("  mail      goes through '{delivery}'; see {url}/outbox");
    println!("  health    {url}/v1/health");
    if !app.config.production {
        println!("  API       {url}/docs");
    }
    if let Some(line) = sample(&url, app) {
        println!("\nTry it:\n{line}\n");
    }
}

/// A command that posts a webhook as its vendor would.
fn sample(url: &str, app: &App) -> Option<String> {
    let ids: Vec<String> = app
        .plugins
        .info()
        .iter()
        .map(|plugin| plugin.id.clone())
        .collect();
    ids.iter().find_map(|id| {
        let source = app.plugins.event_source(id)?;
        let manifest = source.manifest();
        let body = manifest
            .sample_webhook
            .as_deref()?
            .replace("{uuid}", &uuid::Uuid::new_v4().to_string())
            .replace(
                "{now}",
                &app.clock
                    .now()
                    .to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
            );
        // Never the value itself: a terminal keeps what it showed.
        let secret = manifest
            .webhook_secret
            .as_ref()
            .filter(|_| source.has_webhook_secret());
        let secret = secret.map(|name| format!(" -H \"authorization: Bearer ${name}\""));
        Some(format!(
            "curl -X POST {url}/v1/webhooks/{id} -H 'content-type: application/json'{} -d '{body}'",
            secret.unwrap_or_default()
        ))
    })
}
