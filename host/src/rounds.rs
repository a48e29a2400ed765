//! What many tasks need at once is done in rounds: what comes while a round is under way waits for the next one and
//! shares it. So one statement serves many, and nobody waits for a round to fill up.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

/// A part of a round.
pub trait Part: Send + 'static {
    /// What it is about. A round has one part about each.
    fn subject(&self) -> Uuid;
}

/// The parts that wait for their round.
pub struct Rounds<T> {
    queue: Arc<Mutex<Queue<T>>>,
    at_once: usize,
    size: usize,
}

struct Queue<T> {
    parts: VecDeque<T>,
    under_way: usize,
}

impl<T: Part> Rounds<T> {
    /// At most `at_once` rounds at the same time, of at most `size` parts.
    pub fn new(at_once: usize, size: usize) -> Self {
        let queue = Queue {
            parts: VecDeque::new(),
            under_way: 0,
        };
        Self {
            queue: Arc::new(Mutex::new(queue)),
            at_once,
            size,
        }
    }

    /// Has a part done by one of the next calls of `round`, in a task of its own: a caller that is cancelled
    /// cancels no round. Where `round` panics, its parts are dropped and the others go on.
    pub fn add<F, Round>(&self, part: T, round: F)
    where
        F: Fn(Vec<T>) -> Round + Send + Sync + 'static,
        Round: Future<Output = ()> + Send + 'static,
    {
        let begins = {
            let mut queue = lock(&self.queue);
            queue.parts.push_back(part);
            let begins = queue.under_way < self.at_once;
            queue.under_way += usize::from(begins);
            begins
        };
        if begins {
            let (queue, size) = (self.queue.clone(), self.size);
            tokio::spawn(async move {
                while let Some(parts) = next(&queue, size) {
                    // A task of its own, for it may panic: a dropped part tells who waits for it.
                    if let Err(error) = tokio::spawn(round(parts)).await {
                        tracing::error!(%error, "a round of work panicked");
                    }
                }
            });
        }
    }
}

/// The parts of the next round, oldest first. None ends the task that asks.
fn next<T: Part>(queue: &Mutex<Queue<T>>, size: usize) -> Option<Vec<T>> {
    let mut queue = lock(queue);
    let mut subjects = HashSet::new();
    let (mut parts, mut later) = (Vec::new(), VecDeque::new());
    while let Some(part) = queue.parts.pop_front() {
        if parts.len() < size && subjects.insert(part.subject()) {
            parts.push(part);
        } else {
            later.push_back(part);
        }
    }
    queue.parts = later;
    if parts.is_empty() {
        queue.under_way -= 1;
        return None;
    }
    Some(parts)
}

fn lock<T>(queue: &Mutex<Queue<T>>) -> MutexGuard<'_, Queue<T>> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use tokio::sync::{Notify, oneshot};

    use super::*;

    struct Asked {
        about: u128,
        done: oneshot::Sender<usize>,
    }

    impl Part for Asked {
        fn subject(&self) -> Uuid {
            Uuid::from_u128(self.about)
        }
    }

    /// Adds a part; its answer is the size of its round, which does not end before `go`.
    fn ask(rounds: &Rounds<Asked>, about: u128, go: &Arc<Notify>) -> oneshot::Receiver<usize> {
        let (done, answer) = oneshot::channel();
        let go = go.clone();
        rounds.add(Asked { about, done }, move |parts| {
            let go = go.clone();
            async move {
                go.notified().await;
                assert!(parts.iter().all(|part| part.about < 100), "too large");
                let size = parts.len();
                for part in parts {
                    let _ = part.done.send(size);
                }
            }
        });
        answer
    }

    #[tokio::test]
    async fn what_comes_meanwhile_shares_the_next_round_but_for_what_is_about_the_same() {
        let (rounds, go) = (Rounds::new(1, 3), Arc::new(Notify::new()));
        let first = ask(&rounds, 1, &go);
        tokio::task::yield_now().await;
        let rest: Vec<_> = [1, 2, 2, 3, 4].map(|about| ask(&rounds, about, &go)).into();
        for _ in 0..3 {
            go.notify_one();
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
        }
        assert_eq!(first.await, Ok(1));
        let sizes = futures_util::future::join_all(rest).await;
        assert_eq!(sizes, [Ok(3), Ok(3), Ok(2), Ok(3), Ok(2)]);
    }

    #[tokio::test]
    async fn a_round_that_panics_loses_its_own_parts_alone() {
        let (rounds, go) = (Rounds::new(1, 1), Arc::new(Notify::new()));
        let (lost, done) = (ask(&rounds, 100, &go), ask(&rounds, 1, &go));
        go.notify_one();
        assert!(lost.await.is_err());
        go.notify_one();
        assert_eq!(done.await, Ok(1));
        let later = ask(&rounds, 2, &go);
        go.notify_one();
        assert_eq!(later.await, Ok(1));
    }
}
