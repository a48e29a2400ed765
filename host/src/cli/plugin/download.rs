//! The download of a library, over https alone.

use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use reqwest::{Url, redirect};

use crate::http_client::http_client_builder;

/// Bytes of a library. Debug builds have tens of megabytes.
pub const SIZE_MAX: u64 = 512 * 1024 * 1024;
/// Redirects of a download.
const REDIRECTS: usize = 5;

#[derive(Args)]
pub struct Download {
    /// How long a download may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    timeout: u64,
}

impl Download {
    /// Downloads a file. Every URL on the way is https.
    ///
    /// # Errors
    ///
    /// What failed, with the URL as [`shown`].
    pub async fn fetch(&self, url: Url) -> anyhow::Result<Vec<u8>> {
        let shown = shown(&url);
        if url.scheme() != "https" {
            bail!(
                "{}://{shown} is not https: a library is downloaded over https only",
                url.scheme()
            );
        }
        let client = http_client_builder()
            .redirect(redirect::Policy::custom(follow))
            .https_only(true)
            .timeout(Duration::from_secs(self.timeout))
            .build()?;
        let failed = || format!("{shown} cannot be downloaded");
        let response = client.get(url).send().await;
        let response = response.and_then(reqwest::Response::error_for_status);
        let mut response = response
            .map_err(reqwest::Error::without_url)
            .with_context(failed)?;
        if response
            .content_length()
            .is_some_and(|size| size > SIZE_MAX)
        {
            bail!(too_large(&shown));
        }
        let mut bytes = Vec::new();
        loop {
            let chunk = response.chunk().await;
            let chunk = chunk
                .map_err(reqwest::Error::without_url)
                .with_context(failed)?;
            let Some(chunk) = chunk else {
                return Ok(bytes);
            };
            if (bytes.len() + chunk.len()) as u64 > SIZE_MAX {
                bail!(too_large(&shown));
            }
            bytes.extend_from_slice(&chunk);
        }
    }
}

fn follow(attempt: redirect::Attempt<'_>) -> redirect::Action {
    if attempt.previous().len() > REDIRECTS {
        return attempt.error(format!("more than {REDIRECTS} redirects"));
    }
    match attempt.url().scheme() {
        "https" => attempt.follow(),
        _ => attempt.error("it redirects to a URL that is not https"),
    }
}

pub fn too_large(what: &str) -> String {
    format!("{what} is larger than {} MiB", SIZE_MAX / 1024 / 1024)
}

/// A URL for messages, without what may be secret in it: name and password, query and fragment.
pub fn shown(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}"));
    let host = url.host_str().unwrap_or_default();
    format!("{host}{}{}", port.unwrap_or_default(), url.path())
}
