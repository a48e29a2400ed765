//! A cache in Redis, and in this process while Redis is away.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use tokio::sync::OnceCell;

use crate::clock::Clock;

/// Bound of one operation: a cache that is slower than this is no use.
pub(crate) const PATIENCE: Duration = Duration::from_millis(250);
/// Entries kept in the process.
const LOCAL_MAX: usize = 10_000;

/// A cache whose loss costs only time.
pub struct Cache {
    client: Option<redis::Client>,
    manager: OnceCell<ConnectionManager>,
    local: Mutex<HashMap<String, (String, DateTime<Utc>)>>,
    clock: Clock,
}

impl Cache {
    /// Prepares the cache; connects at first use, and again whenever the connection broke.
    pub fn connect(redis_url: Option<&str>, clock: Clock) -> Self {
        let client = redis_url.and_then(|url| match redis::Client::open(url) {
            Ok(client) => Some(client),
            Err(_) => {
                tracing::warn!("REDIS_URL cannot be used, caching in this process only");
                None
            }
        });
        Self {
            client,
            manager: OnceCell::new(),
            local: Mutex::default(),
            clock,
        }
    }

    /// The connection, while Redis can be reached.
    pub(crate) async fn redis(&self) -> Option<ConnectionManager> {
        let client = self.client.as_ref()?;
        let connect = self.manager.get_or_try_init(|| {
            let config = ConnectionManagerConfig::new()
                .set_number_of_retries(1)
                .set_connection_timeout(Some(PATIENCE))
                .set_response_timeout(Some(PATIENCE));
            ConnectionManager::new_with_config(client.clone(), config)
        });
        connect.await.ok().cloned()
    }

    /// The value under a key, unless it expired.
    pub async fn get(&self, key: &str) -> Option<String> {
        let shared = async {
            let mut redis = self.redis().await?;
            redis::cmd("GET")
                .arg(key)
                .query_async::<Option<String>>(&mut redis)
                .await
                .ok()
        };
        if let Ok(Some(found)) = tokio::time::timeout(PATIENCE, shared).await {
            return found;
        }
        let local = self.local.lock().unwrap_or_else(PoisonError::into_inner);
        let (value, until) = local.get(key)?;
        (*until > self.clock.now()).then(|| value.clone())
    }

    /// Keeps a value for `ttl`.
    pub async fn put(&self, key: &str, value: &str, ttl: Duration) {
        let ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1);
        let shared = async {
            let mut redis = self.redis().await?;
            let mut set = redis::cmd("SET");
            set.arg(key).arg(value).arg("PX").arg(ms);
            set.query_async::<()>(&mut redis).await.ok()
        };
        if let Ok(Some(())) = tokio::time::timeout(PATIENCE, shared).await {
            return;
        }
        let now = self.clock.now();
        let mut local = self.local.lock().unwrap_or_else(PoisonError::into_inner);
        if local.len() >= LOCAL_MAX {
            local.retain(|_, (_, until)| *until > now);
            if local.len() >= LOCAL_MAX {
                local.clear();
            }
        }
        let until = now + TimeDelta::from_std(ttl).unwrap_or(TimeDelta::days(1));
        local.insert(key.to_owned(), (value.to_owned(), until));
    }

    /// How long Redis takes to answer.
    pub async fn ping(&self) -> Result<Duration, String> {
        let started = Instant::now();
        let mut redis = self.redis().await.ok_or("no connection")?;
        redis::cmd("PING")
            .query_async::<()>(&mut redis)
            .await
            .map(|()| started.elapsed())
            .map_err(|error| format!("{:?}", error.kind()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Cache;
    use crate::clock::Clock;

    #[tokio::test]
    async fn without_redis_values_stay_in_the_process_until_they_expire() {
        let clock = Clock::manual(chrono::DateTime::UNIX_EPOCH);
        let cache = Cache::connect(Some("redis://127.0.0.1:1"), clock.clone());
        assert_eq!(cache.get("k").await, None);
        cache.put("k", "v", Duration::from_secs(300)).await;
        assert_eq!(cache.get("k").await.as_deref(), Some("v"));
        clock.advance(Duration::from_secs(301));
        assert_eq!(cache.get("k").await, None);
        assert!(cache.ping().await.is_err());
    }
}
