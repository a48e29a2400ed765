//! Performs the commands of plugins.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hogsend_plugin_api::{
    Body, Command, HttpError, HttpRequest, HttpResponse, Manifest, Settings, StepError, limits,
};
use hogsend_semantics::hosts::AllowList;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{files, http};
use crate::cache::Cache;

/// Performs the commands of every plugin.
#[derive(Clone)]
pub struct Performer {
    http: reqwest::Client,
    cache: Arc<Cache>,
    data_dir: PathBuf,
}

/// What one plugin may access.
pub(super) struct Scope {
    plugin: String,
    allowed: AllowList,
}

impl Scope {
    pub fn new(manifest: &Manifest, settings: &Settings) -> Self {
        Self {
            plugin: manifest.id.clone(),
            allowed: AllowList::new(&manifest.http_hosts, settings),
        }
    }

    /// A key of the plugin's own in the cache that all share.
    fn key(&self, key: &str) -> String {
        format!("{}:{key}", self.plugin)
    }
}

#[derive(Deserialize)]
struct CacheGet {
    key: String,
}

#[derive(Deserialize)]
struct CachePut {
    key: String,
    value: String,
    ttl_ms: u64,
}

#[derive(Deserialize)]
struct FilePut {
    name: String,
    body: Body,
}

impl Performer {
    pub fn new(http: reqwest::Client, cache: Arc<Cache>, data_dir: PathBuf) -> Self {
        Self {
            http,
            cache,
            data_dir,
        }
    }

    pub(super) async fn http(
        &self,
        scope: &Scope,
        request: HttpRequest,
    ) -> Result<HttpResponse, HttpError> {
        http::send(&self.http, &scope.plugin, &scope.allowed, request).await
    }

    pub(super) async fn perform(
        &self,
        scope: &Scope,
        command: &Command,
    ) -> Result<Value, StepError> {
        match command.kind.as_str() {
            "http" => {
                let answer = self.http(scope, read(command)?).await;
                answer
                    .map(|answer| json!(answer))
                    .map_err(|error| error.into_step_error())
            }
            "cache_get" => {
                let CacheGet { key } = read(command)?;
                cacheable(scope, &key, "")?;
                Ok(json!(self.cache.get(&scope.key(&key)).await))
            }
            "cache_put" => {
                let CachePut { key, value, ttl_ms } = read(command)?;
                cacheable(scope, &key, &value)?;
                let ttl = Duration::from_millis(ttl_ms);
                self.cache.put(&scope.key(&key), &value, ttl).await;
                Ok(Value::Null)
            }
            "file_put" => {
                let FilePut { name, body } = read(command)?;
                let folder = self.data_dir.join(&scope.plugin);
                let put = tokio::task::spawn_blocking(move || {
                    files::put(&folder, &name, body.as_slice())
                })
                .await;
                put.unwrap_or_else(|ended| Err(ended.to_string()))
                    .map(|()| Value::Null)
                    .map_err(|message| StepError::new("file_failed", message))
            }
            kind => Err(StepError::not_supported(kind)),
        }
    }
}

/// Logs a refusal as well, because the plugin sees a cache that does not work like one without the value.
fn cacheable(scope: &Scope, key: &str, value: &str) -> Result<(), StepError> {
    let fits = limits::CACHE_KEY.check(key.len());
    let fits = fits.and_then(|()| limits::CACHE_VALUE.check(value.len()));
    fits.map_err(|why| {
        tracing::warn!(
            plugin = scope.plugin,
            why,
            "a plugin's entry is not in the cache"
        );
        StepError::new("cache_refused", why)
    })
}

fn read<T: DeserializeOwned>(command: &Command) -> Result<T, StepError> {
    T::deserialize(&command.args)
        .map_err(|error| StepError::new("request_unreadable", error.to_string()))
}
