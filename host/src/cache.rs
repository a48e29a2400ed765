//! A cache in Redis, or in this process while Redis is unavailable.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use quick_cache::sync::Cache as Bounded;
use redis::RedisError;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use tokio::sync::watch;

use crate::clock::Clock;
use crate::http_client::install_tls;
use crate::telemetry::Outage;

/// Timeout of one operation: a slower cache is useless.
pub(crate) const PATIENCE: Duration = Duration::from_millis(250);
/// Timeout of connecting, including TLS. Operations do not wait for it longer than [`PATIENCE`].
const CONNECT: Duration = Duration::from_secs(5);
/// Pause after a failed attempt to connect.
const PAUSE: Duration = Duration::from_secs(5);
/// Consecutive timeouts after which Redis counts as unavailable.
const LATE: u32 = 3;
/// Maximum number of entries in the process.
const LOCAL_MAX: usize = 10_000;

/// A cache: losing its entries costs only time.
pub struct Cache {
    remote: Option<Arc<Remote>>,
    /// Values and when they expire by `clock`.
    local: Bounded<String, (String, DateTime<Utc>)>,
    clock: Clock,
}

/// The configured Redis.
struct Remote {
    manager: watch::Sender<Option<ConnectionManager>>,
    state: Mutex<State>,
    outage: Outage,
}

#[derive(Default)]
struct State {
    /// `None` before the first attempt ended.
    up: Option<bool>,
    cause: String,
    late: u32,
}

impl Cache {
    /// Creates the cache and starts to connect in the background; needs a Tokio runtime. Logs
    /// whenever Redis becomes available or unavailable.
    pub fn connect(redis_url: Option<&str>, clock: Clock) -> Self {
        let remote = redis_url.and_then(|url| match redis::Client::open(url) {
            Ok(client) => {
                let remote = Arc::new(Remote {
                    manager: watch::Sender::new(None),
                    state: Mutex::default(),
                    outage: Outage::new(),
                });
                install_tls();
                tokio::spawn(connect(client, Arc::downgrade(&remote)));
                Some(remote)
            }
            Err(error) => {
                let cause = error.category();
                tracing::warn!(
                    cause,
                    "REDIS_URL cannot be used, caching in this process only"
                );
                None
            }
        });
        Self {
            remote,
            local: Bounded::new(LOCAL_MAX),
            clock,
        }
    }

    /// Whether Redis is switched off by configuration.
    pub fn is_off(&self) -> bool {
        self.remote.is_none()
    }

    /// Whether Redis answered the last time it was asked. None where it is switched off or was not asked yet.
    pub fn is_up(&self) -> Option<bool> {
        self.remote.as_ref()?.lock().up
    }

    /// Runs one operation within [`PATIENCE`]; `None` where Redis is off or unavailable.
    pub(crate) async fn ask<T, F>(
        &self,
        operation: impl FnOnce(ConnectionManager) -> F,
    ) -> Option<T>
    where
        F: Future<Output = Result<T, RedisError>>,
    {
        let remote = self.remote.as_ref()?;
        let asked = tokio::time::timeout(PATIENCE, async {
            let redis = remote.manager().await?;
            Some(operation(redis).await)
        });
        match asked.await {
            Ok(None) => None,
            Ok(Some(Ok(value))) => {
                remote.is_up();
                Some(value)
            }
            Ok(Some(Err(error))) => {
                remote.is_away(&error);
                None
            }
            Err(_) => {
                remote.is_late();
                None
            }
        }
    }

    /// The value of a key, unless it has expired.
    pub async fn get(&self, key: &str) -> Option<String> {
        let get = async |mut redis: ConnectionManager| {
            let mut get = redis::cmd("GET");
            get.arg(key);
            get.query_async::<Option<String>>(&mut redis).await
        };
        if let Some(found) = self.ask(get).await {
            return found;
        }
        let (value, until) = self.local.get(key)?;
        (until > self.clock.now()).then_some(value)
    }

    /// Stores a value for `ttl`.
    pub async fn put(&self, key: &str, value: &str, ttl: Duration) {
        let ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1);
        let set = async |mut redis: ConnectionManager| {
            let mut set = redis::cmd("SET");
            set.arg(key).arg(value).arg("PX").arg(ms);
            set.query_async::<()>(&mut redis).await
        };
        if let Some(()) = self.ask(set).await {
            return;
        }
        let until = self.clock.now() + TimeDelta::from_std(ttl).unwrap_or(TimeDelta::days(1));
        self.local.insert(key.to_owned(), (value.to_owned(), until));
    }

    /// How long Redis takes to answer, or why it does not.
    ///
    /// # Errors
    ///
    /// The cause, for an operator; never the URL, which may hold a password.
    pub async fn ping(&self) -> Result<Duration, String> {
        let started = Instant::now();
        let ping = async |mut redis: ConnectionManager| {
            redis::cmd("PING").query_async::<()>(&mut redis).await
        };
        match (self.ask(ping).await, &self.remote) {
            (Some(()), _) => Ok(started.elapsed()),
            (None, None) => Err("it is switched off".into()),
            (None, Some(remote)) => Err(remote.cause()),
        }
    }
}

/// Retries until it is connected. From then on the connection manager reconnects.
async fn connect(client: redis::Client, remote: Weak<Remote>) {
    loop {
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(1)
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(PATIENCE));
        let connected = ConnectionManager::new_with_config(client.clone(), config).await;
        let Some(remote) = remote.upgrade() else {
            return;
        };
        match connected {
            Ok(manager) => {
                remote.manager.send_replace(Some(manager));
                remote.is_up();
                return;
            }
            Err(error) => remote.is_away(&error),
        }
        drop(remote);
        tokio::time::sleep(PAUSE).await;
    }
}

impl Remote {
    /// The connection. Waits briefly while the first one is being made.
    async fn manager(&self) -> Option<ConnectionManager> {
        let mut made = self.manager.subscribe();
        if let Some(manager) = made.borrow().clone() {
            return Some(manager);
        }
        if self.lock().up.is_some() {
            return None;
        }
        let made = tokio::time::timeout(PATIENCE, made.wait_for(Option::is_some)).await;
        made.ok()?.ok()?.clone()
    }

    fn is_up(&self) {
        let was = {
            let mut state = self.lock();
            state.late = 0;
            state.up.replace(true)
        };
        // Every operation comes here, and most of them find it as it was.
        if was == Some(false)
            && let Some(recovered) = self.outage.over()
        {
            let seconds = recovered.seconds;
            tracing::info!(
                seconds,
                "Redis is back: it counts and caches for all replicas again"
            );
        }
    }

    fn is_away(&self, error: &RedisError) {
        self.is_down(error.to_string());
    }

    fn is_late(&self) {
        let late = {
            let mut state = self.lock();
            state.late += 1;
            state.late
        };
        if late >= LATE {
            self.is_down(format!("it does not answer within {PATIENCE:?}"));
        }
    }

    fn is_down(&self, cause: String) {
        let mut state = self.lock();
        state.up = Some(false);
        if let Some(failing) = self.outage.failed() {
            let (failures, seconds) = (failing.failures, failing.seconds);
            tracing::warn!(
                cause,
                failures,
                seconds,
                "Redis is away: this process counts and caches for itself until it is back"
            );
        }
        state.cause = cause;
    }

    fn cause(&self) -> String {
        let state = self.lock();
        if state.cause.is_empty() {
            return "it does not answer".into();
        }
        state.cause.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Cache, LOCAL_MAX};
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
        for n in 0..3 * LOCAL_MAX {
            cache
                .put(&n.to_string(), "v", Duration::from_secs(300))
                .await;
        }
        assert!(cache.local.len() < 2 * LOCAL_MAX);
        let cause = cache.ping().await.unwrap_err();
        assert!(cause.contains("refused"), "{cause}");
        let off = Cache::connect(None, clock);
        assert!(off.is_off() && off.ping().await.is_err());
    }

    /// The test's server does not speak TLS: it only checks that the client starts a TLS handshake.
    #[tokio::test]
    async fn rediss_begins_with_a_tls_handshake() {
        use tokio::io::AsyncReadExt as _;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("rediss://:secret@{}", listener.local_addr().unwrap());
        let cache = Cache::connect(Some(&url), Clock::manual(chrono::DateTime::UNIX_EPOCH));
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut first = [0; 6];
        stream.read_exact(&mut first).await.unwrap();
        // A handshake record with a ClientHello (RFC 8446 §5.1, §4).
        assert_eq!((first[0], first[1], first[5]), (22, 3, 1));
        drop(stream);
        let cause = loop {
            if let Err(cause) = cache.ping().await
                && !cause.contains("does not answer")
            {
                break cause;
            }
            tokio::task::yield_now().await;
        };
        assert!(!cause.contains("secret"), "{cause}");
    }
}
