//! Clients for requests to others: one TLS, one name, bounded waits.

use std::time::Duration;

use reqwest::{Client, ClientBuilder, redirect};

/// Bound of an exchange.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

/// Makes rustls with ring the TLS of the process.
pub(crate) fn install_tls() {
    // Already installed when a second client is made.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// What every client of the process has in common: TLS by rustls, a name, short waits.
pub fn http_client_builder() -> ClientBuilder {
    install_tls();
    Client::builder()
        .user_agent(concat!("Hogsend/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_secs(5))
        .timeout(TIMEOUT)
        .pool_idle_timeout(Duration::from_secs(60))
}

/// The client of plugins: one pool, no redirects.
pub fn http_client() -> Client {
    let client = http_client_builder()
        .redirect(redirect::Policy::none())
        .build();
    client.expect("a client with a TLS provider installed can be built")
}
