//! HTTP clients with a common TLS provider, user agent and timeouts.

use std::time::Duration;

use hogsend_plugin_api::limits;
use reqwest::{Client, ClientBuilder, redirect};

/// Timeout of a request.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(limits::HTTP_SECONDS.most as u64);

/// Installs rustls with ring as the process's TLS provider.
pub(crate) fn install_tls() {
    // Fails harmlessly where it is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// The common settings of every client: TLS by rustls, user agent, timeouts.
pub fn http_client_builder() -> ClientBuilder {
    install_tls();
    Client::builder()
        .user_agent(concat!("Hogsend/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_secs(5))
        .timeout(TIMEOUT)
        .pool_idle_timeout(Duration::from_secs(60))
}

/// The client for requests of plugins: one pool, no redirects.
pub fn http_client() -> Client {
    let client = http_client_builder()
        .redirect(redirect::Policy::none())
        .build();
    client.expect("a client with a TLS provider installed can be built")
}
