//! Serving one connection.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderValue, Response, Version, header};
use axum::response::IntoResponse as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::patience::{Life, Noted, Taken, Verdict};
use crate::http::ApiError;

/// The largest request head, and the size of the read and write buffers, in bytes.
const HEAD_MAX: usize = 16 * 1024;
/// Concurrent requests on one HTTP/2 connection.
const STREAMS_MAX: u32 = 100;
/// Flow-control windows of HTTP/2 in bytes: per request, and per connection.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 256 * 1024;
/// Bytes of a response that are buffered for an HTTP/2 client.
const SEND_BUFFER: usize = 64 * 1024;
/// The interval of keep-alive pings on HTTP/2.
const PING: Duration = Duration::from_secs(30);
/// How often a connection is checked against the time limits.
const TICK: Duration = Duration::from_secs(1);
/// How long an idle connection may take to close gracefully.
const FAREWELL: Duration = Duration::from_secs(5);
/// The lifetime of a connection beyond the maximum number.
const RESERVED: Duration = Duration::from_secs(5);

/// What all connections of a server share.
#[derive(Clone)]
pub struct Server {
    pub router: Router,
    /// The server is about to stop: responses tell clients to close the connection.
    pub draining: CancellationToken,
    /// The server stops: open requests finish and no new ones are accepted.
    pub closing: CancellationToken,
}

/// Whether a connection is within the maximum number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Regular,
    /// The maximum is reached: this connection may send one health request.
    Reserved,
}

/// Serves one connection until either side ends it.
pub async fn serve(server: Server, stream: TcpStream, peer: SocketAddr, place: Place) {
    // Sends small responses without delay (TCP_NODELAY).
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let life = Life::new();
    let io = TokioIo::new(Noted::new(stream, life.clone()));
    let service = {
        let (server, life) = (server.clone(), life.clone());
        service_fn(move |request: Request<Incoming>| {
            answer(server.clone(), life.clone(), request, peer, place)
        })
    };
    let builder = builder(place);
    let connection = builder.serve_connection(io, service);
    let mut connection = std::pin::pin!(connection);
    let began = tokio::time::Instant::now();
    let mut ticks = tokio::time::interval(TICK);
    let mut ends_at = None;
    loop {
        tokio::select! {
            _ = connection.as_mut() => return,
            () = server.closing.cancelled(), if ends_at.is_none() => {
                connection.as_mut().graceful_shutdown();
                // No limit here: the server limits the whole shutdown.
                ends_at = Some(None);
            }
            _ = ticks.tick() => {}
        }
        let now = tokio::time::Instant::now();
        if place == Place::Reserved && now - began >= RESERVED {
            return;
        }
        if matches!(ends_at, Some(Some(end)) if now >= end) {
            return;
        }
        match life.judge() {
            Verdict::Fine => {}
            Verdict::Late => return,
            Verdict::Idle if ends_at.is_none() => {
                connection.as_mut().graceful_shutdown();
                ends_at = Some(Some(now + FAREWELL));
            }
            Verdict::Idle => {}
        }
    }
}

fn builder(place: Place) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // `Life` limits this; hyper's timeout starts only when it expects a request.
        .header_read_timeout(None)
        .keep_alive(place == Place::Regular)
        .max_buf_size(HEAD_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Some(PING))
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(HEAD_MAX as u32);
    builder
}

async fn answer(
    server: Server,
    life: Life,
    request: Request<Incoming>,
    peer: SocketAddr,
    place: Place,
) -> Result<Response<Taken>, std::convert::Infallible> {
    let http2 = request.version() == Version::HTTP_2;
    let under_way = life.exchange(http2);
    let mut response = if place == Place::Reserved && !is_health(request.uri().path()) {
        ApiError::unavailable("Too many connections", 5).into_response()
    } else {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        server.router.oneshot(request).await?
    };
    // HTTP/2 has no such header (RFC 9113 §8.2.2); its connections get a GOAWAY when the server closes.
    if !http2 && (place == Place::Reserved || server.draining.is_cancelled()) {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    Ok(response.map(|body| under_way.answer(body)))
}

/// Whether a path is one of the health endpoints.
pub fn is_health(path: &str) -> bool {
    path == "/v1/health" || path.starts_with("/v1/health/")
}
