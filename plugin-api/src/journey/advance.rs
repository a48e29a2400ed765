//! One advance: a journal in, commands out.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::{Category, Ctx, Definition, Journey, Journeys, Template, TriggerEvent, User};
use crate::call::{CallError, decode, encode, method};
use crate::replay::{self, Divergence, End};
use crate::step::{Command, Step, StepError};

/// Everything a journeys plugin brings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Catalogue {
    pub journeys: Vec<Definition>,
    #[serde(default)]
    pub templates: Vec<Template>,
    #[serde(default)]
    pub categories: Vec<Category>,
}

/// A run and its journal.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AdvanceIn {
    pub journey: String,
    pub run_id: Uuid,
    pub started_at: DateTime<Utc>,
    pub user: User,
    pub event: TriggerEvent,
    /// Ordered by number, without gaps.
    pub steps: Vec<Step>,
}

/// What the run now wants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdvanceOut {
    pub status: RunStatus,
    /// New steps, by number.
    #[serde(default)]
    pub commands: Vec<Command>,
    /// Steps dropped before they ended.
    #[serde(default)]
    pub cancels: Vec<u32>,
}

/// Where the run stands after an advance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    Waiting,
    Completed,
    /// The code ended the run early.
    Exited {
        reason: String,
    },
    /// The function returned an error or panicked.
    Failed {
        message: String,
        #[serde(default)]
        location: Option<String>,
    },
    /// The code no longer fits the journal.
    Diverged(Divergence),
    /// The code awaits something that is not a step.
    Stuck {
        message: String,
    },
}

/// Reads a recorded result as its type.
pub(super) fn typed<T: DeserializeOwned>(value: Value) -> Result<T, StepError> {
    serde_json::from_value(value)
        .map_err(|error| StepError::new("result_unreadable", error.to_string()))
}

/// The plugin's journeys by id, made once.
#[doc(hidden)]
pub type Cache = OnceLock<BTreeMap<String, Journey>>;

#[doc(hidden)]
pub fn dispatch<P: Journeys>(
    plugin: &P,
    cache: &Cache,
    number: u32,
    input: &[u8],
) -> Option<Result<Vec<u8>, CallError>> {
    match number {
        method::JOURNEYS_CATALOGUE => Some(encode(&Catalogue {
            // Not from the cache: the host must see two journeys of one id.
            journeys: plugin
                .journeys()
                .into_iter()
                .map(|j| j.definition)
                .collect(),
            templates: plugin.templates(),
            categories: plugin.categories(),
        })),
        method::JOURNEYS_ADVANCE => Some(decode(input).and_then(|run: AdvanceIn| {
            let journeys = cache.get_or_init(|| {
                let all = plugin.journeys().into_iter();
                all.map(|journey| (journey.definition.id.clone(), journey))
                    .collect()
            });
            let journey = journeys.get(&run.journey).ok_or_else(|| {
                let message = format!("this plugin has no journey '{}'", run.journey);
                CallError::new(CallError::BAD_INPUT, message)
            })?;
            encode(&advance(journey, run))
        })),
        _ => None,
    }
}

fn advance(journey: &Journey, run: AdvanceIn) -> AdvanceOut {
    let played = replay::play(run.started_at, run.steps, |replay| {
        (journey.run)(run.user, Ctx::new(replay, run.event, run.run_id))
    });
    let status = match played.end {
        End::Waiting => RunStatus::Waiting,
        End::Stuck => RunStatus::Stuck {
            message: "the journey awaits something that is not one of its steps".into(),
        },
        End::Done(Ok(())) => RunStatus::Completed,
        End::Done(Err(error)) if error.exit => RunStatus::Exited {
            reason: error.message,
        },
        End::Done(Err(error)) => RunStatus::Failed {
            message: error.message,
            location: Some(error.location),
        },
        End::Panicked(panicked) => RunStatus::Failed {
            message: format!("the journey panicked: {}", panicked.message),
            location: panicked.location,
        },
        End::Diverged(divergence) => RunStatus::Diverged(divergence),
    };
    AdvanceOut {
        status,
        commands: played.commands,
        cancels: played.cancels,
    }
}
