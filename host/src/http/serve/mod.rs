//! Listening for connections, and graceful shutdown.

mod connection;
pub mod draining;
mod encoding;
pub mod memory;
mod patience;
pub mod shed;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::{Extension, Router};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::connection::{Place, Server};
use self::draining::Draining;
use super::{health, metrics, router};
use crate::app::App;
use crate::telemetry::Outage;

/// How long the server still accepts connections after it was asked to stop, so that load balancers
/// notice that it is not ready and stop routing requests to it.
pub const DRAIN: Duration = Duration::from_secs(3);
/// How long open requests may take once no more connections are accepted.
const GRACE: Duration = Duration::from_secs(6);
/// Connections beyond the maximum, for health requests.
const RESERVE: usize = 64;
/// Open files reserved for the database, Redis and outgoing requests.
const OTHER_FILES: u64 = 256;
/// The pause after the system refused to accept a connection.
const REFUSED: Duration = Duration::from_millis(100);

/// Binds the port at one address, or at all addresses of the machine. This happens before anything
/// else starts, so that a port in use is reported first.
pub fn bind(host: Option<IpAddr>, port: u16) -> anyhow::Result<TcpListener> {
    bind_as(host, port, "PORT")
}

fn bind_as(host: Option<IpAddr>, port: u16, setting: &str) -> anyhow::Result<TcpListener> {
    let bound = match host {
        Some(host) => TcpListener::bind(SocketAddr::from((host, port))),
        // The IPv6 wildcard also accepts IPv4; machines without IPv6 have only the IPv4 wildcard.
        None => TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)))
            .or_else(|_| TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))),
    };
    let listener = bound.with_context(|| match host {
        Some(host) => {
            format!("cannot listen at {host}, port {port}: stop the process that uses it, or set {setting} or HOST")
        }
        None => format!("cannot listen on port {port}: stop the process that uses it, or set {setting}"),
    })?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Raises the limit of open files to the maximum the system allows. The usual default of 1,024 is
/// too low for many slow clients. Returns the limit, if it is known.
pub fn open_file_limit() -> Option<u64> {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, getrlimit, setrlimit};
        let mut limit = getrlimit(Resource::Nofile);
        limit.current = limit.maximum;
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%error, "the limit of open files could not be raised");
        }
        getrlimit(Resource::Nofile).current
    }
    #[cfg(not(unix))]
    None
}

/// Serves the API until `stop`, continues for `drain`, then lets open requests finish.
pub async fn serve(
    app: App,
    listener: TcpListener,
    stop: CancellationToken,
    drain: Duration,
) -> anyhow::Result<()> {
    let files = open_file_limit();
    tracing::debug!(files, "the limit of open files of this process");
    let wanted = app.config.access.connections;
    let possible = files.map_or(wanted, |files| {
        let possible = files.saturating_sub(OTHER_FILES + RESERVE as u64).max(64);
        usize::try_from(possible).unwrap_or(usize::MAX)
    });
    serve_router(router(app), listener, wanted.min(possible), stop, drain).await
}

/// Serves the health endpoints and the metrics on `HEALTH_PORT`, if it is set, until the process ends.
pub fn serve_health(app: &App, stop: &CancellationToken) -> anyhow::Result<()> {
    let Some(port) = app.config.health_port else {
        return Ok(());
    };
    let metrics = metrics::router(app, metrics::Access::Open);
    let router = health::router(app.clone()).merge(metrics);
    spawn(app, port, "HEALTH_PORT", router, stop)
}

/// Serves the metrics of the API on `METRICS_PORT`, if it is set, until the process ends.
pub fn serve_metrics(app: &App, stop: &CancellationToken) -> anyhow::Result<()> {
    let Some(port) = app.config.metrics_port else {
        return Ok(());
    };
    let router = metrics::router(app, metrics::Access::Open);
    spawn(app, port, "METRICS_PORT", router, stop)
}

/// Serves a router for operators on a port of its own. It stops last, so that health checks see that the
/// process is stopping.
fn spawn(
    app: &App,
    port: u16,
    setting: &'static str,
    router: Router,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let listener = bind_as(app.config.host, port, setting)?;
    let stop = stop.clone();
    tokio::spawn(async move {
        if let Err(error) = serve_router(router, listener, RESERVE, stop, DRAIN).await {
            tracing::error!(
                error = format!("{error:#}"),
                "the server on {setting} failed"
            );
        }
    });
    Ok(())
}

/// Serves a router on at most `places` connections, and a few more for health requests only.
async fn serve_router(
    router: Router,
    listener: TcpListener,
    places: usize,
    stop: CancellationToken,
    drain: Duration,
) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener).context("the API cannot listen")?;
    let closing = CancellationToken::new();
    let server = Server {
        router: router.layer(Extension(Draining(stop.clone()))),
        draining: stop.clone(),
        closing: closing.clone(),
    };
    let connections = TaskTracker::new();
    let regular = Arc::new(Semaphore::new(places));
    let reserve = Arc::new(Semaphore::new(RESERVE));
    let outage = Outage::new();
    let mut full = false;
    let closes = async {
        stop.cancelled().await;
        tokio::time::sleep(drain).await;
    };
    let mut closes = std::pin::pin!(closes);
    loop {
        let accepted = tokio::select! {
            () = closes.as_mut() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            // Concerns a single connection, which has already ended.
            Err(error) if of_one(&error) => continue,
            Err(error) => {
                if let Some(failing) = outage.failed() {
                    let failures = failing.failures;
                    tracing::error!(%error, failures, "cannot accept connections");
                }
                tokio::time::sleep(REFUSED).await;
                continue;
            }
        };
        if let Some(recovered) = outage.over() {
            let seconds = recovered.seconds;
            tracing::info!(seconds, "connections can be accepted again");
        }
        let (permit, place) = match regular.clone().try_acquire_owned() {
            Ok(permit) => (permit, Place::Regular),
            Err(_) => match reserve.clone().try_acquire_owned() {
                Ok(permit) => (permit, Place::Reserved),
                Err(_) => continue,
            },
        };
        if full != (place == Place::Reserved) {
            full = !full;
            if full {
                tracing::warn!(
                    connections = places,
                    "the maximum number of connections is reached and further ones are refused: raise HTTP_CONNECTIONS to accept more"
                );
            } else {
                tracing::info!("connections are accepted again");
            }
        }
        let server = server.clone();
        connections.spawn(async move {
            connection::serve(server, stream, peer, place).await;
            drop(permit);
        });
    }
    drop(listener);
    closing.cancel();
    connections.close();
    if tokio::time::timeout(GRACE, connections.wait())
        .await
        .is_err()
    {
        tracing::warn!("open requests were cut off");
    }
    Ok(())
}

fn of_one(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    [ConnectionAborted, ConnectionRefused, ConnectionReset].contains(&error.kind())
}
