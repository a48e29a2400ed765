//! Reading the plugins and templates again while the process works.

use std::collections::HashSet;

use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::db;
use crate::installed::{Installation, Reloaded};

/// Reads the plugins and templates again, puts them in use and logs what changed.
pub async fn reload(app: &App, installation: &Installation) -> Reloaded {
    let needed = needed(app).await;
    let reloaded = installation
        .reload(&app.config, &app.installed, &needed)
        .await;
    if !reloaded.changed.is_empty() {
        app.loops.plugins_changed();
    }
    for line in &reloaded.changed {
        tracing::info!("reloaded: {line}");
    }
    for line in &reloaded.refused {
        tracing::warn!("not reloaded, what was in use before stays: {line}");
    }
    for line in &reloaded.warnings {
        tracing::debug!("{line}");
    }
    if reloaded.changed.is_empty() && reloaded.refused.is_empty() {
        tracing::info!("reloaded: no plugin and no template has changed");
    }
    reloaded
}

/// The versions of plugins in use that runs in flight began with.
async fn needed(app: &App) -> HashSet<(String, String)> {
    let plugins = app.plugins();
    let loaded = plugins.info().iter();
    let loaded: Vec<(String, String)> = loaded
        .map(|plugin| (plugin.id.clone(), plugin.version.clone()))
        .collect();
    let known = match app.db.conn().await {
        Ok(mut conn) => db::states_versions(&mut conn, &loaded).await,
        Err(error) => Err(error),
    };
    match known {
        Ok(needed) => needed.into_iter().collect(),
        Err(error) => {
            tracing::warn!(%error, "cannot tell which versions of plugins runs go on with: all are kept");
            loaded.into_iter().collect()
        }
    }
}

/// Reloads on SIGHUP. Not for `hogsend dev`, which has to end when its terminal is closed.
#[cfg(unix)]
pub fn on_hangup(app: &App, installation: Installation, stop: &CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};

    let mut hangups = match signal(SignalKind::hangup()) {
        Ok(hangups) => hangups,
        Err(error) => {
            tracing::error!(%error, "cannot listen for SIGHUP: plugins and templates are read at start only");
            return;
        }
    };
    let (app, stop) = (app.clone(), stop.clone());
    tokio::spawn(async move {
        loop {
            let hangup = tokio::select! {
                () = stop.cancelled() => None,
                hangup = hangups.recv() => hangup,
            };
            if hangup.is_none() {
                return;
            }
            reload(&app, &installation).await;
        }
    });
}

#[cfg(not(unix))]
pub fn on_hangup(_: &App, _: Installation, _: &CancellationToken) {}
