//! Listening, and stopping without cutting anyone off.

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
use super::{health, router};
use crate::app::App;

/// How long the server still takes connections after it was asked to stop, so that whoever routes
/// requests to it sees that it is not ready and turns elsewhere.
pub const DRAIN: Duration = Duration::from_secs(3);
/// How long requests under way may take once no more connections are taken.
const GRACE: Duration = Duration::from_secs(6);
/// Connections beyond the places, for those that ask how the server is.
const RESERVE: usize = 64;
/// Open files left to the database, Redis and requests to others.
const OTHER_FILES: u64 = 256;
/// How long nothing is accepted after the machine refused to.
const REFUSED: Duration = Duration::from_millis(100);

/// Takes the port at one address, or at every one of the machine, so that a port in use is reported
/// before anything starts.
pub fn bind(host: Option<IpAddr>, port: u16) -> anyhow::Result<TcpListener> {
    let bound = match host {
        Some(host) => TcpListener::bind(SocketAddr::from((host, port))),
        // The IPv6 wildcard takes IPv4 as well; machines without IPv6 have only the other.
        None => TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)))
            .or_else(|_| TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))),
    };
    let listener = bound.with_context(|| match host {
        Some(host) => {
            format!("cannot listen at {host}, port {port}: stop what uses it, or set PORT or HOST")
        }
        None => format!("cannot listen on port {port}: stop what uses it, or set PORT"),
    })?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Lets this process have as many connections open as the machine allows it: many systems begin
/// with 1,024 files, which slow clients use up. Returns how many there may be, where that is known.
pub fn open_file_limit() -> Option<u64> {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, getrlimit, setrlimit};
        let mut limit = getrlimit(Resource::Nofile);
        limit.current = limit.maximum;
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%error, "the limit of open files stays as it is");
        }
        getrlimit(Resource::Nofile).current
    }
    #[cfg(not(unix))]
    None
}

/// Serves the API until `stop`, goes on for `drain`, then lets requests under way finish.
pub async fn serve(
    app: App,
    listener: TcpListener,
    stop: CancellationToken,
    drain: Duration,
) -> anyhow::Result<()> {
    let files = open_file_limit();
    tracing::debug!(files, "open files this process may have");
    let wanted = app.config.access.connections;
    let possible = files.map_or(wanted, |files| {
        let possible = files.saturating_sub(OTHER_FILES + RESERVE as u64).max(64);
        usize::try_from(possible).unwrap_or(usize::MAX)
    });
    serve_router(router(app), listener, wanted.min(possible), stop, drain).await
}

/// Answers questions about health on a port of its own, where one is set, until the process ends.
pub fn serve_health(app: &App, stop: &CancellationToken) -> anyhow::Result<()> {
    let Some(port) = app.config.health_port else {
        return Ok(());
    };
    let listener = bind(app.config.host, port)?;
    let router = health::router(app.clone());
    let stop = stop.clone();
    tokio::spawn(async move {
        // Told last: whoever asks shall hear that the process stops.
        if let Err(error) = serve_router(router, listener, RESERVE, stop, DRAIN).await {
            tracing::error!(error = format!("{error:#}"), "HEALTH_PORT is not served");
        }
    });
    Ok(())
}

/// Serves any routes so, on at most `places` connections and a few more that only ask how it is.
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
            // Of one connection, which is over already.
            Err(error) if of_one(&error) => continue,
            Err(error) => {
                tracing::error!(%error, "cannot accept connections");
                tokio::time::sleep(REFUSED).await;
                continue;
            }
        };
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
                    "all connections are in use: further ones are turned away. HTTP_CONNECTIONS sets how many there may be"
                );
            } else {
                tracing::info!("there are connections free again");
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
        tracing::warn!("requests under way were cut off");
    }
    Ok(())
}

fn of_one(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    [ConnectionAborted, ConnectionRefused, ConnectionReset].contains(&error.kind())
}
