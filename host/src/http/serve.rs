//! Listening, and stopping without cutting anyone off.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::time::Duration;

use anyhow::Context;
use axum_server::Handle;
use hyper_util::rt::TokioTimer;
use tokio_util::sync::CancellationToken;

use super::patience::Impatient;
use super::router;
use crate::app::App;

/// How long a connection may lie idle between requests. Longer than the minute after which proxies
/// give up, so that they close first.
const KEEP_ALIVE: Duration = Duration::from_secs(72);
/// How often an HTTP/2 connection is asked whether it is still there.
const PING: Duration = Duration::from_secs(30);
/// How long requests under way may take once the server stops.
const GRACE: Duration = Duration::from_secs(8);

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

/// Serves until `stop`, then lets requests under way finish.
pub async fn serve(app: App, listener: TcpListener, stop: CancellationToken) -> anyhow::Result<()> {
    let files = open_file_limit();
    tracing::debug!(files, "open files this process may have");
    let handle = Handle::new();
    let server = axum_server::from_tcp(listener)?.handle(handle.clone());
    let mut server = server.acceptor(Impatient);
    server
        .http_builder()
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(KEEP_ALIVE);
    // Pings keep an HTTP/2 connection from seeming to trickle, and end it where nobody answers.
    server
        .http_builder()
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Some(PING));
    let stopping = tokio::spawn(async move {
        stop.cancelled().await;
        handle.graceful_shutdown(Some(GRACE));
    });
    let service = router(app).into_make_service_with_connect_info::<SocketAddr>();
    let served = server.serve(service).await;
    stopping.abort();
    served.context("the API stopped")
}
