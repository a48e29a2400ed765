//! Access to the development pages and to the endpoints that development leaves open.
//!
//! A page of any website can make a browser send requests to this machine. The development pages show
//! mails, so they answer only requests from this machine under one of its own names. A foreign name
//! that resolves to it (DNS rebinding) and a tunnel to the outside are refused.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{AUTHORIZATION, FORWARDED, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::layout::{Here, page};
use crate::app::App;
use crate::http::ApiError;
use crate::http::auth::origin_is_known;

const X_FORWARDED: [HeaderName; 2] = [
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
];

/// Refuses requests that do not come from this machine.
pub async fn here_only(State(app): State<App>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let peer = peer.map(|ConnectInfo(peer)| peer.ip());
    let host = named_host(&request);
    if allowed(app.config.host, peer, host.as_deref(), request.headers()) {
        return next.run(request).await;
    }
    let port = app.config.port;
    let body = format!(
        "<h1>This page is for the machine it runs on</h1>\
         <p>The pages of <code>hogsend dev</code> show every mail, so they answer this machine \
         alone. Open <a href=\"http://localhost:{port}/\">http://localhost:{port}/</a> there. To look \
         from another one, a phone for instance, set <code>HOST=0.0.0.0</code> and use this machine's \
         IP address.</p>"
    );
    page(StatusCode::FORBIDDEN, Here::Nowhere, "Not from here", &body)
}

/// The host a request names. In HTTP/2 it is part of the URI (RFC 9113 §8.3.1).
fn named_host(request: &Request) -> Option<String> {
    let header = request.headers().get(HOST);
    let header = header.map(|host| host.to_str().unwrap_or("?").to_owned());
    header.or_else(|| request.uri().authority().map(ToString::to_string))
}

/// `listens` is the configured `HOST`; `peer` is `None` for requests that used no network, as in tests.
fn allowed(
    listens: Option<IpAddr>,
    peer: Option<IpAddr>,
    host: Option<&str>,
    headers: &HeaderMap,
) -> bool {
    // A proxy or tunnel on this machine forwards requests that may come from anywhere.
    let relayed = headers.contains_key(FORWARDED)
        || X_FORWARDED.iter().any(|name| headers.contains_key(name));
    let opened = listens.is_none_or(|host| !host.is_loopback());
    let peer_here = peer.is_none_or(|peer| peer.to_canonical().is_loopback());
    // HTTP/1.0 requests, and those that used no network, name no host.
    let host_here = host.is_none_or(|host| is_this_machine(host, opened));
    !relayed && host_here && (peer_here || opened)
}

/// Whether `Host` is a name of this machine. If `HOST` opens it to others, any IP address is
/// accepted, since DNS rebinding needs a name.
fn is_this_machine(host: &str, opened: bool) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>() {
        Ok(address) => opened || address.to_canonical().is_loopback(),
        Err(_) => {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            name == "localhost" || name.ends_with(".localhost")
        }
    }
}

/// Refuses requests without a key from pages of foreign websites. In development, while no key exists,
/// events are accepted from anyone else.
pub async fn no_foreign_pages(State(app): State<App>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let changes = ![Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method());
    let foreign = headers.get(ORIGIN).is_some_and(|origin| {
        let origin = origin.to_str().unwrap_or("null");
        !origin_is_known(&app, headers, origin) && !is_local_origin(origin)
    });
    let open = [
        "/v1/ingest",
        "/v1/events",
        "/v1/contacts",
        "/v1/lists",
        "/v1/webhooks",
    ];
    let path = request.uri().path();
    if changes
        && foreign
        && !headers.contains_key(AUTHORIZATION)
        && open.iter().any(|open| path.starts_with(open))
    {
        return ApiError::forbidden(
            "Forbidden: a page of another website sent this request without a key. Send a key, or add the \
             page's origin to TRUSTED_ORIGINS",
        )
        .into_response();
    }
    next.run(request).await
}

fn is_local_origin(origin: &str) -> bool {
    origin
        .split_once("://")
        .is_some_and(|(_, host)| is_this_machine(host, false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_under_its_own_names_is_let_in() {
        let here: IpAddr = "127.0.0.1".parse().unwrap();
        let there: IpAddr = "192.168.1.9".parse().unwrap();
        let any: IpAddr = "0.0.0.0".parse().unwrap();
        let none = HeaderMap::new();
        for host in [
            "localhost:3002",
            "127.0.0.1:3002",
            "[::1]:3002",
            "LOCALHOST",
            "a.localhost",
            "127.9.9.9",
        ] {
            assert!(allowed(Some(here), Some(here), Some(host), &none), "{host}");
        }
        for host in [
            "evil.test",
            "evil.test:3002",
            "localhost.evil.test",
            "192.168.1.5:3002",
            "[fe80::1]",
            "?",
        ] {
            assert!(
                !allowed(Some(here), Some(here), Some(host), &none),
                "{host}"
            );
        }
        assert!(!allowed(Some(here), Some(there), Some("localhost"), &none));
        // Opened on purpose: an IP address is accepted, a name is not.
        assert!(allowed(
            Some(any),
            Some(there),
            Some("192.168.1.5:3002"),
            &none
        ));
        assert!(!allowed(Some(any), Some(there), Some("evil.test"), &none));
        // A tunnel that rewrites the host.
        let mut tunnel = HeaderMap::new();
        tunnel.insert(X_FORWARDED[0].clone(), "203.0.113.9".parse().unwrap());
        assert!(!allowed(
            Some(here),
            Some(here),
            Some("localhost:3002"),
            &tunnel
        ));
    }

    #[test]
    fn a_host_is_read_from_the_uri_where_no_header_names_one() {
        let request = Request::builder().uri("http://evil.test:3002/outbox");
        let request = request.body(axum::body::Body::empty()).unwrap();
        assert_eq!(named_host(&request).as_deref(), Some("evil.test:3002"));
    }

    #[test]
    fn origins_of_this_machine_are_told_from_others() {
        assert!(is_local_origin("http://localhost:5173"));
        assert!(is_local_origin("http://[::1]:5173"));
        for foreign in [
            "https://evil.test",
            "null",
            "http://localhost.evil.test",
            "file://",
        ] {
            assert!(!is_local_origin(foreign), "{foreign}");
        }
    }
}
