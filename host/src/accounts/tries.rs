//! Sign-in attempts, which slow down as they become more frequent.
//!
//! A limit on attempts per account would let anyone lock its owner out. Instead, frequent attempts on
//! one account are queued, each after a pause. That limits guessing while the owner can still sign in.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits::Limits;

/// Attempts per account and 60 s without a pause.
const FREE: u32 = 5;
/// The first pause; it doubles with each further attempt.
const PAUSE: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// Queued attempts per account.
const WAITING: usize = 16;
/// Attempts in total within 60 s without a pause, and the pause of further ones.
const FREE_IN_ALL: u32 = 600;
const PAUSE_IN_ALL: Duration = Duration::from_secs(1);
/// Higher than any count that occurs.
const COUNTED: u32 = 2_000;
/// The `Retry-After` in seconds if the queue is full.
pub const COME_BACK: u32 = 10;

type Key = [u8; 32];

/// The accounts with queued attempts.
#[derive(Default)]
pub struct Tries {
    slowed: Mutex<HashMap<Key, Arc<Semaphore>>>,
}

/// An attempt's turn; the next attempt of the account begins when this is dropped.
pub struct Turn<'a> {
    permit: Option<OwnedSemaphorePermit>,
    key: Key,
    tries: &'a Tries,
}

impl Tries {
    /// Waits until it is this attempt's turn. `None` if the account's queue is full.
    pub async fn turn(&self, limits: &Limits, account: &str) -> Option<Turn<'_>> {
        let key: Key = Sha256::digest(account.trim().to_lowercase()).into();
        let count = async |class: &str, who: &str| {
            let quota = limits.take(class, who, COUNTED).await;
            quota.limit - quota.remaining
        };
        let tries = count("sign-in-account", &hex::encode(key)).await;
        let in_all = count("sign-in-all", "all").await;
        if in_all > FREE_IN_ALL {
            tokio::time::sleep(PAUSE_IN_ALL).await;
        }
        let mut turn = Turn {
            permit: None,
            key,
            tries: self,
        };
        if tries > FREE {
            let account = {
                let mut slowed = self.slowed.lock().unwrap_or_else(PoisonError::into_inner);
                let account = slowed
                    .entry(key)
                    .or_insert_with(|| Arc::new(Semaphore::new(1)));
                // One reference is the map's; each queued or current attempt holds another.
                if Arc::strong_count(account) > WAITING {
                    return None;
                }
                account.clone()
            };
            turn.permit = Some(account.acquire_owned().await.ok()?);
            tokio::time::sleep(pause(tries)).await;
        }
        Some(turn)
    }
}

fn pause(tries: u32) -> Duration {
    let doubled = tries.saturating_sub(FREE + 1).min(16);
    (PAUSE * 2_u32.pow(doubled)).min(PAUSE_MAX)
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.permit = None;
        let mut slowed = self
            .tries
            .slowed
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if slowed
            .get(&self.key)
            .is_some_and(|account| Arc::strong_count(account) == 1)
        {
            slowed.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::time::Instant;

    use super::*;
    use crate::cache::Cache;
    use crate::clock::Clock;

    #[tokio::test(start_paused = true)]
    async fn many_tries_for_one_account_take_turns_and_others_do_not_wait() {
        let clock = Clock::manual(chrono::DateTime::UNIX_EPOCH);
        let limits = Limits::new(Arc::new(Cache::connect(None, clock.clone())), clock);
        let tries = Tries::default();
        let began = Instant::now();
        for _ in 0..FREE {
            tries.turn(&limits, "ann@example.com").await.unwrap();
        }
        assert_eq!(began.elapsed(), Duration::ZERO);
        for ms in [250, 500, 1_000, 2_000, 2_000] {
            let began = Instant::now();
            tries.turn(&limits, "ANN@example.com ").await.unwrap();
            assert_eq!(began.elapsed().as_millis(), ms);
        }
        // Concurrent attempts take as long as sequential ones.
        let began = Instant::now();
        let all =
            (0..6).map(|_| async { drop(tries.turn(&limits, "ann@example.com").await.unwrap()) });
        futures_util::future::join_all(all).await;
        assert_eq!(began.elapsed().as_secs(), 12);
        assert!(tries.slowed.lock().unwrap().is_empty());
        let began = Instant::now();
        tries.turn(&limits, "bob@example.com").await.unwrap();
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
