//! Rate limits: a number of requests within any 60 s.
//!
//! Redis counts for all replicas together. While it is unavailable each process counts for itself:
//! limits then apply per replica, and no request is refused because of Redis.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use redis::aio::ConnectionManager;
use uuid::Uuid;

use crate::cache::Cache;
use crate::clock::Clock;

/// The window, in microseconds.
const WINDOW: i64 = 60_000_000;
/// Approximate maximum number of callers counted in the process.
const LOCAL_MAX: usize = 10_000;
/// Pause after Redis did not answer, in milliseconds.
const REST: u64 = 5_000;

/// Takes a place in the sliding window if there is one: returns `{1, taken}` or `{0, time of the
/// oldest}`. A refused request takes none.
const TAKE: &str = "\
local now, window, limit = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - window)
local taken = redis.call('ZCARD', KEYS[1])
if taken >= limit then
  return {0, redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2]}
end
redis.call('ZADD', KEYS[1], ARGV[1], ARGV[4])
redis.call('PEXPIRE', KEYS[1], math.ceil(window / 1000))
return {1, taken + 1}";

/// State of a limit after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    pub limit: u32,
    pub remaining: u32,
    /// Seconds to wait before a retry, where the request is refused.
    pub refused: Option<u32>,
}

pub struct Limits {
    cache: Arc<Cache>,
    clock: Clock,
    local: Mutex<HashMap<String, VecDeque<i64>>>,
    started: Instant,
    /// Milliseconds after `started` at which Redis is used again.
    rest_until: AtomicU64,
}

enum Taken {
    /// A place was taken; this many are taken now.
    Now(i64),
    /// All places are taken, the oldest at this time.
    Full(i64),
}

impl Limits {
    pub fn new(cache: Arc<Cache>, clock: Clock) -> Self {
        Self {
            cache,
            clock,
            local: Mutex::default(),
            started: Instant::now(),
            rest_until: AtomicU64::new(0),
        }
    }

    /// Counts one request of `caller` towards at most `limit` within 60 s. Classes are counted
    /// separately.
    pub async fn take(&self, class: &str, caller: &str, limit: u32) -> Quota {
        let key = format!("hogsend:limit:{class}:{caller}");
        let now = self.clock.now().timestamp_micros();
        let taken = match self.take_shared(&key, now, limit).await {
            Some(taken) => taken,
            None => self.take_local(key, now, limit),
        };
        match taken {
            Taken::Now(taken) => Quota {
                limit,
                remaining: limit.saturating_sub(u32::try_from(taken).unwrap_or(u32::MAX)),
                refused: None,
            },
            Taken::Full(oldest) => {
                let wait = (oldest + WINDOW - now).clamp(1, WINDOW);
                let seconds = (wait + 999_999) / 1_000_000;
                Quota {
                    limit,
                    remaining: 0,
                    refused: Some(u32::try_from(seconds).unwrap_or(60)),
                }
            }
        }
    }

    async fn take_shared(&self, key: &str, now: i64, limit: u32) -> Option<Taken> {
        let running = || u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        if running() < self.rest_until.load(Ordering::Relaxed) {
            return None;
        }
        let eval = async |mut redis: ConnectionManager| {
            let mut eval = redis::cmd("EVAL");
            eval.arg(TAKE)
                .arg(1)
                .arg(key)
                .arg(now)
                .arg(WINDOW)
                .arg(limit);
            eval.arg(Uuid::new_v4().to_string());
            eval.query_async::<(i64, f64)>(&mut redis).await
        };
        let Some((taken, number)) = self.cache.ask(eval).await else {
            self.rest_until.store(running() + REST, Ordering::Relaxed);
            return None;
        };
        // A double represents microseconds exactly until the year 2255.
        let number = number as i64;
        Some(if taken == 1 {
            Taken::Now(number)
        } else {
            Taken::Full(number)
        })
    }

    fn take_local(&self, key: String, now: i64, limit: u32) -> Taken {
        let mut local = self.local.lock().unwrap_or_else(PoisonError::into_inner);
        if local.len() >= LOCAL_MAX {
            local.retain(|_, times| times.back().is_some_and(|last| *last > now - WINDOW));
        }
        let times = local.entry(key).or_default();
        while times.front().is_some_and(|first| *first <= now - WINDOW) {
            times.pop_front();
        }
        match times.front() {
            Some(oldest) if times.len() >= limit as usize => Taken::Full(*oldest),
            _ => {
                times.push_back(now);
                Taken::Now(i64::try_from(times.len()).unwrap_or(i64::MAX))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::Limits;
    use crate::cache::Cache;
    use crate::clock::Clock;

    #[tokio::test]
    async fn without_redis_the_window_slides_and_refusals_do_not_count() {
        let clock = Clock::manual("2026-03-02T09:00:00Z".parse().unwrap());
        let cache = Cache::connect(Some("redis://127.0.0.1:1"), clock.clone());
        let limits = Limits::new(Arc::new(cache), clock.clone());
        let take = || limits.take("test", "one", 2);
        assert_eq!(take().await.remaining, 1);
        clock.advance(Duration::from_secs(20));
        assert_eq!(take().await.remaining, 0);
        for _ in 0..5 {
            assert_eq!(take().await.refused, Some(40));
        }
        assert_eq!(limits.take("test", "other", 2).await.refused, None);
        // The first leaves the window, the second stays.
        clock.advance(Duration::from_secs(40));
        assert_eq!(take().await.refused, None);
        assert_eq!(take().await.refused, Some(20));
    }
}
