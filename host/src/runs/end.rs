//! How an advance leaves its run.

use chrono::{DateTime, Utc};
use hogsend_plugin_api::journey::RunStatus;
use serde_json::json;

use crate::calls;
use crate::catalog::Catalog;
use crate::db::{self, ClaimedState, Conn, Log};
use crate::ingest::{self, NewEvent};
use crate::plugins::{ErrorKind, PluginError};
use crate::run_ended::{RunEnd, RunEnded};
use crate::states::RunState;
use crate::webhooks::announce;

/// How an advance leaves its run.
pub struct Ending {
    pub status: RunState,
    /// The transition's name in the log of the run.
    pub action: &'static str,
    /// Why it failed, is stuck or was ended.
    pub error: Option<String>,
    /// Why it is stuck, as a word of the API.
    pub stuck_reason: Option<&'static str>,
}

impl Ending {
    /// What the journey's code says.
    pub fn of(status: &RunStatus) -> Self {
        let (status, action, error) = match status {
            RunStatus::Waiting => (RunState::Waiting, "advanced", None),
            RunStatus::Completed => (RunState::Completed, "completed", None),
            RunStatus::Exited { reason, .. } => {
                (RunState::Exited, "exit_step", Some(reason.clone()))
            }
            RunStatus::Failed {
                message, location, ..
            } => {
                let place = location.as_deref().map(|place| format!(" at {place}"));
                let error = format!("{message}{}", place.unwrap_or_default());
                (RunState::Failed, "failed", Some(error))
            }
            RunStatus::Diverged(differs) => {
                let message = format!(
                    "the journey's code changed under this run: step {} was {}, the code now asks for {}",
                    differs.seq, differs.recorded, differs.code
                );
                return Self::stuck("diverged", message);
            }
            RunStatus::Stuck { message, .. } => return Self::stuck("unreadable", message.clone()),
            other => {
                let message = format!("the plugin is newer than this host: {other:?}");
                return Self::stuck("unreadable", message);
            }
        };
        Self {
            status,
            action,
            error,
            stuck_reason: None,
        }
    }

    /// An administrator has to decide.
    fn stuck(reason: &'static str, message: String) -> Self {
        Self {
            status: RunState::Stuck,
            action: reason,
            error: Some(message),
            stuck_reason: Some(reason),
        }
    }

    /// Workers died in it too often.
    pub fn died(state: &ClaimedState) -> Self {
        let verdict = calls::verdict(&state.deaths);
        let message = format!(
            "{verdict}: look at the journey's code and at the log of the worker, then resume it"
        );
        Self::stuck("worker_died", message)
    }

    /// Its advance could not be recorded this many times in a row.
    pub fn unrecordable(times: i16, error: &sqlx::Error) -> Self {
        let message = format!("its advance could not be recorded {times} times: {error}");
        Self::stuck("unrecordable", message)
    }

    /// Its advance ended the process of its plugin, which is not a worker's, or did not end, so many times in a
    /// row.
    pub fn crashed(times: i16, error: &PluginError) -> Self {
        let what = match error.kind {
            ErrorKind::Deadline => "did not end",
            _ => "ended the plugin's process",
        };
        let message = format!(
            "its advance {what} {times} times, the last time so: {error}: look at the journey's code, \
             then resume it"
        );
        Self::stuck("worker_died", message)
    }

    pub fn log(&self, state: &ClaimedState) -> Log {
        Log {
            state_id: state.id,
            from: Some(state.status),
            to: self.status,
            action: self.action,
            detail: json!({ "node": state.current_node_id, "reason": self.error }),
        }
    }

    /// The run goes on later.
    pub fn waits(&self) -> bool {
        self.status == RunState::Waiting
    }

    /// What to report, if the run is over. A stuck run is not: an administrator resumes or ends it.
    pub fn ended(&self, state: &ClaimedState) -> Option<RunEnded> {
        let text = || self.error.clone().unwrap_or_default();
        let end = match self.status {
            RunState::Completed => RunEnd::Completed,
            RunState::Failed => RunEnd::Failed { error: text() },
            RunState::Exited => RunEnd::Exited { reason: text() },
            RunState::Active | RunState::Waiting | RunState::Stuck => return None,
        };
        Some(RunEnded {
            run: state.id,
            journey_id: state.journey_id.clone(),
            contact: state.contact_id,
            end,
            depth: state.depth,
            trust: state.trust,
        })
    }
}

/// Reports the end of a run: a webhook to endpoints, and an event that other journeys may be triggered by.
pub async fn report(
    conn: &mut Conn,
    catalog: &Catalog,
    ended: &RunEnded,
    now: DateTime<Utc>,
) -> db::Result<()> {
    announce(conn, &[ended.news(now)], now).await?;
    ingest::store(conn, catalog, now, vec![NewEvent::run_ended(ended)]).await?;
    Ok(())
}
