//! Steps about groups of people: segments, and the lists people join and leave.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Asked, step};
use crate::replay::Replay;

/// Inputs of a `segment.contains` step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SegmentArgs {
    /// The segment's id.
    pub segment: String,
}

/// Inputs of a `list` step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ListArgs {
    /// The list's id.
    pub list: String,
    /// Whether the person is on the list afterwards.
    #[serde(default)]
    pub member: bool,
}

/// A list of people; see [`Ctx::list`](super::Ctx::list).
pub struct List {
    replay: Replay,
    id: String,
}

impl List {
    pub(super) fn new(replay: &Replay, id: &str) -> Self {
        Self {
            replay: replay.clone(),
            id: id.into(),
        }
    }

    /// Puts the person on the list. False where they left it themselves: only their consent brings
    /// them back.
    pub fn join(self) -> Asked<bool> {
        self.set(true)
    }

    /// Takes the person off the list. True where they were on it.
    pub fn leave(self) -> Asked<bool> {
        self.set(false)
    }

    fn set(self, member: bool) -> Asked<bool> {
        let args = ListArgs {
            list: self.id,
            member,
        };
        Asked::new(&self.replay, step::LIST, json!(args))
    }
}

pub(super) fn in_segment(replay: &Replay, id: &str) -> Asked<bool> {
    let args = SegmentArgs { segment: id.into() };
    Asked::new(replay, step::SEGMENT, json!(args))
}
