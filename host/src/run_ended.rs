//! The end of a run, reported to endpoints as a webhook and to journeys as an event.

use chrono::{DateTime, Utc};
use hogsend_plugin_api::{Properties, Trust};
use serde_json::json;

use crate::ids::{ContactId, StateId};
use crate::webhooks::News;

/// A run that ended. `NewEvent::run_ended` makes the event of it.
#[derive(Clone, Debug)]
pub struct RunEnded {
    pub run: StateId,
    pub journey_id: String,
    /// The contact of the run.
    pub contact: ContactId,
    pub end: RunEnd,
    /// The number of journeys between an event from outside and the cause of the end.
    pub depth: i16,
    /// Whether the cause of the end is trusted.
    pub trust: Trust,
}

/// How a run ended.
#[derive(Clone, Debug)]
pub enum RunEnd {
    /// The journey's code returned.
    Completed,
    /// The journey's code failed.
    Failed { error: String },
    /// The code, an administrator or a merge ended it.
    Exited { reason: String },
    /// An event of this name met an exit condition.
    ExitedOn { event: String },
}

impl RunEnded {
    /// The name of the event and of the webhook.
    pub fn name(&self) -> &'static str {
        match self.end {
            RunEnd::Completed => "journey.completed",
            RunEnd::Failed { .. } => "journey.failed",
            RunEnd::Exited { .. } | RunEnd::ExitedOn { .. } => "journey.exited",
        }
    }

    /// The properties of the event, and the data of the webhook.
    pub fn properties(&self) -> Properties {
        let mut properties = Properties::new();
        properties.insert("journeyId".into(), json!(self.journey_id));
        properties.insert("stateId".into(), json!(self.run));
        let cause = match &self.end {
            RunEnd::Completed => None,
            RunEnd::Failed { error } => Some(("error", error)),
            RunEnd::Exited { reason } => Some(("reason", reason)),
            RunEnd::ExitedOn { event } => Some(("event", event)),
        };
        if let Some((name, text)) = cause {
            properties.insert(name.into(), json!(text));
        }
        properties
    }

    /// The webhook.
    pub fn news(&self, now: DateTime<Utc>) -> News {
        News {
            event_type: self.name(),
            contact: self.contact,
            occurred_at: now,
            data: self.properties(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use uuid::Uuid;

    use super::*;

    fn ended(end: RunEnd) -> RunEnded {
        RunEnded {
            run: StateId(Uuid::nil()),
            journey_id: "welcome".into(),
            contact: ContactId(Uuid::nil()),
            end,
            depth: 0,
            trust: Trust::Trusted,
        }
    }

    #[test]
    fn the_event_and_the_webhook_say_the_same() {
        let text = || String::from("why");
        let run = Uuid::nil();
        for (end, name, cause) in [
            (RunEnd::Completed, "journey.completed", None),
            (
                RunEnd::Failed { error: text() },
                "journey.failed",
                Some("error"),
            ),
            (
                RunEnd::Exited { reason: text() },
                "journey.exited",
                Some("reason"),
            ),
            (
                RunEnd::ExitedOn { event: text() },
                "journey.exited",
                Some("event"),
            ),
        ] {
            let ended = ended(end);
            let mut expected = json!({ "journeyId": "welcome", "stateId": run });
            if let Some(cause) = cause {
                expected[cause] = json!("why");
            }
            let news = ended.news(DateTime::UNIX_EPOCH);
            assert_eq!((ended.name(), news.event_type), (name, name));
            assert_eq!(Value::Object(news.data), expected);
        }
    }
}
