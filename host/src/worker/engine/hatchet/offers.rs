//! The tasks for mail that this process offered.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::PATIENCE;
use crate::mail::Lane;

/// The workflow of mail.
pub const SEND_EMAIL: &str = "send-email";
/// How long an offered task counts, if it does not begin in this process: another worker may have it.
const OFFERED: Duration = Duration::from_secs(2);
/// How often the loop claims by itself while nothing is due.
const LOOK: Duration = Duration::from_secs(60);

/// The tasks that this process offered and that have not begun here, by lane.
#[derive(Debug, Default)]
pub struct Offers {
    all: Offered,
    urgent: Offered,
}

impl Offers {
    pub fn of(&self, lane: Lane) -> &Offered {
        match lane {
            Lane::All => &self.all,
            Lane::Urgent => &self.urgent,
        }
    }
}

#[derive(Debug, Default)]
pub struct Offered(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    open: VecDeque<Instant>,
    /// When the first of them was offered since which none began here.
    unanswered: Option<Instant>,
    /// When the loop claimed by itself although nothing was due.
    looked: Option<Instant>,
}

impl Offered {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many count.
    pub fn open(&self) -> usize {
        let mut state = self.lock();
        while state.open.front().is_some_and(|at| at.elapsed() > OFFERED) {
            state.open.pop_front();
        }
        state.open.len()
    }

    pub fn add(&self, count: usize) {
        let now = Instant::now();
        let mut state = self.lock();
        state.open.extend(std::iter::repeat_n(now, count));
        state.unanswered.get_or_insert(now);
    }

    /// One began.
    pub fn took(&self) {
        let mut state = self.lock();
        state.open.pop_front();
        state.unanswered = None;
    }

    /// Whether tasks were offered and none began here for long.
    pub fn are_ignored(&self) -> bool {
        let state = self.lock();
        state.unanswered.is_some_and(|at| at.elapsed() > PATIENCE)
    }

    /// Nothing is due. Whether the loop has to look by itself: a claim also finds mails whose time a clock that
    /// was set back has put into the future.
    pub fn idle(&self) -> bool {
        let mut state = self.lock();
        state.open.clear();
        state.unanswered = None;
        let looks = state.looked.is_none_or(|at| at.elapsed() > LOOK);
        if looks {
            state.looked = Some(Instant::now());
        }
        looks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offered_task_counts_until_it_begins_and_lanes_count_apart() {
        let offers = Offers::default();
        offers.of(Lane::All).add(2);
        assert_eq!(
            [Lane::All, Lane::Urgent].map(|lane| offers.of(lane).open()),
            [2, 0]
        );
        offers.of(Lane::All).took();
        assert_eq!(offers.of(Lane::All).open(), 1);
        assert!(
            !offers.of(Lane::All).are_ignored(),
            "one was offered just now"
        );
        // Another worker had the other one.
        assert!(
            offers.of(Lane::All).idle(),
            "the loop looks by itself at first"
        );
        assert!(!offers.of(Lane::All).idle(), "and then once a minute");
        assert_eq!(offers.of(Lane::All).open(), 0);
    }
}
