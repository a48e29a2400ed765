//! One advance of a run: takes its journal, returns commands.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::{
    CatalogueIn, Category, Ctx, Definition, Document, DocumentFault, Journey, Journeys, Template,
    TriggerEvent, User,
};
use crate::call::{CallError, decode, encode, method};
use crate::replay::{self, Bounds, Divergence, End};
use crate::step::{Command, Step, StepError};
use crate::wire;

/// Everything a journeys plugin provides.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Catalogue {
    /// From [`Journeys::journeys`] and [`Journeys::read_documents`].
    #[serde(deserialize_with = "wire::each")]
    pub journeys: Vec<Definition>,
    /// From [`Journeys::templates`].
    #[serde(default, deserialize_with = "wire::each")]
    pub templates: Vec<Template>,
    /// From [`Journeys::categories`].
    #[serde(default, deserialize_with = "wire::each")]
    pub categories: Vec<Category>,
    /// What is wrong with documents.
    #[serde(default, deserialize_with = "wire::each")]
    pub faults: Vec<DocumentFault>,
}

/// A run and its journal.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AdvanceIn {
    /// The id of the journey.
    pub journey: String,
    /// The id of the run.
    pub run_id: Uuid,
    /// When the person entered the journey.
    pub started_at: DateTime<Utc>,
    /// The person, as they were at entry.
    pub user: User,
    /// The event that enrolled the person.
    pub event: TriggerEvent,
    /// The recorded steps, ordered by number, without gaps.
    pub steps: Vec<Step>,
    /// The document the run began with, where its journey was made of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<Document>,
}

impl AdvanceIn {
    /// A run of a journey without steps.
    pub fn new(
        journey: &str,
        run_id: Uuid,
        started_at: DateTime<Utc>,
        user: User,
        event: TriggerEvent,
    ) -> Self {
        Self {
            journey: journey.into(),
            run_id,
            started_at,
            user,
            event,
            steps: Vec::new(),
            document: None,
        }
    }
}

/// Result of an advance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AdvanceOut {
    /// How far the run has come.
    pub status: RunStatus,
    /// New steps, ordered by number.
    #[serde(default)]
    pub commands: Vec<Command>,
    /// Numbers of the steps the code dropped before they ended.
    #[serde(default)]
    pub cancels: Vec<u32>,
}

/// The status of a run after an advance. One of a later version counts as [`RunStatus::Stuck`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", remote = "Self")]
#[non_exhaustive]
pub enum RunStatus {
    /// The run waits for at least one step.
    Waiting,
    /// The function returned `Ok`.
    Completed,
    /// The code ended the run early, with [`Ctx::exit`].
    #[non_exhaustive]
    Exited {
        /// The code's reason.
        reason: String,
    },
    /// The function returned an error, panicked or exceeded a [limit](crate::limits).
    #[non_exhaustive]
    Failed {
        /// What went wrong.
        message: String,
        /// The place in the source, as `file:line` or `file:line:column`, where known.
        #[serde(default)]
        location: Option<String>,
    },
    /// The code no longer matches the journal.
    Diverged(Divergence),
    /// The code awaits something that is not a step, so the run cannot continue.
    #[non_exhaustive]
    Stuck {
        /// For the operator.
        message: String,
    },
}

impl RunStatus {
    /// The code ended the run early.
    pub fn exited(reason: impl Into<String>) -> Self {
        Self::Exited {
            reason: reason.into(),
        }
    }

    /// The run failed, at this place in the source where it is known.
    pub fn failed(message: impl Into<String>, location: Option<String>) -> Self {
        Self::Failed {
            message: message.into(),
            location,
        }
    }

    /// The run cannot continue.
    pub fn stuck(message: impl Into<String>) -> Self {
        Self::Stuck {
            message: message.into(),
        }
    }
}

wire::enum_on_the_wire!(RunStatus, |name, fault| RunStatus::Stuck {
    message: format!("the plugin answers with '{name}' ({fault}): it is newer than this host"),
});

/// Parses a recorded result.
pub(super) fn typed<T: DeserializeOwned>(value: Value) -> Result<T, StepError> {
    serde_json::from_value(value)
        .map_err(|error| StepError::new("result_unreadable", error.to_string()))
}

/// The plugin's journeys by id, as they were listed last.
#[doc(hidden)]
#[derive(Default)]
pub struct Cache(Mutex<Option<Arc<ById>>>);

type ById = BTreeMap<String, Journey>;

impl Cache {
    fn put(&self, journeys: Vec<Journey>) -> Arc<ById> {
        let by_id = journeys.into_iter();
        let by_id = by_id.map(|journey| (journey.definition.id.clone(), journey));
        let all = Arc::new(by_id.collect::<ById>());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(all.clone());
        all
    }

    fn get(&self) -> Option<Arc<ById>> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

#[doc(hidden)]
pub fn dispatch<P: Journeys>(
    plugin: &P,
    cache: &Cache,
    number: u32,
    input: &[u8],
) -> Option<Result<Vec<u8>, CallError>> {
    match number {
        method::JOURNEYS_CATALOGUE => {
            // Hosts of the drafts sent null.
            let input = decode::<Option<CatalogueIn>>(input);
            Some(input.and_then(|input| encode(&list(plugin, cache, input.unwrap_or_default()))))
        }
        method::JOURNEYS_ADVANCE => Some(decode(input).and_then(|mut run: AdvanceIn| {
            let journeys = match run.document.take() {
                Some(document) => {
                    let read = plugin.read_documents(&[document]).into_iter().flatten();
                    let read = read.map(|journey| (journey.definition.id.clone(), journey));
                    Arc::new(read.collect())
                }
                None => cache.get().unwrap_or_else(|| cache.put(plugin.journeys())),
            };
            let journey = journeys.get(&run.journey).ok_or_else(|| {
                let message = format!("this plugin has no journey '{}'", run.journey);
                CallError::new(CallError::BAD_INPUT, message)
            })?;
            encode(&advance(journey, run))
        })),
        _ => None,
    }
}

fn list<P: Journeys>(plugin: &P, cache: &Cache, input: CatalogueIn) -> Catalogue {
    let mut journeys = plugin.journeys();
    let mut faults = Vec::new();
    if !input.documents.is_empty() {
        for read in plugin.read_documents(&input.documents) {
            match read {
                Ok(journey) => journeys.push(journey),
                Err(fault) => faults.push(fault),
            }
        }
    }
    // From the list, not from the cache: the host must see it if two journeys share an id.
    let definitions = journeys.iter().map(|journey| journey.definition.clone());
    let definitions = definitions.collect();
    cache.put(journeys);
    Catalogue {
        journeys: definitions,
        templates: plugin.templates(),
        categories: plugin.categories(),
        faults,
    }
}

fn advance(journey: &Journey, run: AdvanceIn) -> AdvanceOut {
    let played = replay::play(Bounds::Run, run.started_at, run.steps, |replay| {
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
        End::Exceeded(message) => RunStatus::Failed {
            message,
            location: Some(journey.definition.location.clone()),
        },
    };
    AdvanceOut {
        status,
        commands: played.commands,
        cancels: played.cancels,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journey::{Error, days};
    use crate::{Properties, limits};

    fn advanced<F: Future<Output = crate::journey::Result> + 'static>(
        code: impl Fn(User, Ctx) -> F + Send + Sync + 'static,
    ) -> AdvanceOut {
        let run = AdvanceIn {
            journey: "j".into(),
            run_id: Uuid::from_u128(1),
            started_at: DateTime::UNIX_EPOCH,
            user: User {
                id: Uuid::from_u128(2),
                external_id: None,
                email: None,
                properties: Properties::new(),
            },
            event: TriggerEvent {
                name: "x".into(),
                properties: Properties::new(),
                trust: Default::default(),
            },
            steps: Vec::new(),
            document: None,
        };
        advance(&Journey::new("j", code), run)
    }

    fn failure(out: &AdvanceOut) -> &str {
        match &out.status {
            RunStatus::Failed { message, .. } => message,
            other => panic!("{other:?}"),
        }
    }

    /// Takes steps when it is dropped.
    struct Noting(Ctx);

    impl Drop for Noting {
        fn drop(&mut self) {
            self.0.checkpoint("dropped");
            drop(self.0.trigger("dropped"));
        }
    }

    #[test]
    fn a_loop_that_never_waits_stops_by_itself_and_asks_for_nothing() {
        let endless: [fn(&Ctx); 5] = [
            |ctx| ctx.checkpoint("x"),
            |ctx| drop(ctx.trigger("x")),
            |ctx| drop(ctx.sleep(days(1))),
            |ctx| std::mem::forget(ctx.send("x").prop("n", 1)),
            |ctx| {
                ctx.patched("x");
            },
        ];
        for step in endless {
            let out = advanced(move |_, ctx| async move {
                let _noting = Noting(ctx.clone());
                loop {
                    step(&ctx);
                }
            });
            assert!(failure(&out).contains("more than 2000 steps"), "{out:?}");
            assert!(out.commands.is_empty() && out.cancels.is_empty());
        }
    }

    #[test]
    fn what_is_too_large_fails_the_run_by_the_name_of_the_limit() {
        let long = || "x".repeat(limits::LABEL_MAX + 1);
        let large = || "x".repeat(limits::INPUT_MAX);
        let out = advanced(move |_, ctx| async move {
            ctx.checkpoint(&long());
            Ok(())
        });
        assert!(failure(&out).contains("label of step 0 (checkpoint)"));
        let out = advanced(move |_, ctx| async move {
            ctx.checkpoint("before");
            ctx.sleep(days(1)).label(&long()).await;
            Ok(())
        });
        assert!(failure(&out).contains("label of step 1 (sleep)"));
        let out = advanced(move |_, ctx| async move {
            ctx.send("x")
                .prop("text", large())
                .await
                .map_err(Error::from)?;
            Ok(())
        });
        assert!(failure(&out).contains("inputs of step 0 (send)"), "{out:?}");
        let out = advanced(move |_, ctx| async move {
            for _ in 0..10 {
                drop(
                    ctx.send("x")
                        .prop("text", "x".repeat(limits::INPUT_MAX / 2)),
                );
            }
            Ok(())
        });
        assert!(failure(&out).contains("one call"), "{out:?}");
        assert!(out.commands.is_empty());
    }

    #[test]
    fn as_many_steps_as_there_may_be_are_taken() {
        let out = advanced(move |_, ctx| async move {
            for _ in 0..limits::STEPS_MAX {
                ctx.checkpoint("x");
            }
            Ok(())
        });
        assert_eq!(out.status, RunStatus::Completed);
        assert_eq!(out.commands.len(), limits::STEPS_MAX);
    }
}
