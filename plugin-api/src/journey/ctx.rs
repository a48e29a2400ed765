//! What a journey function receives: the person, the trigger event and its steps.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::error::Error;
use super::{
    Asked, CaptureArgs, Contact, Digest, Guard, History, IdentifyArgs, List, Send, Sleep, Trigger,
    WaitFor, When, audience, pace,
};
use crate::replay::Replay;
use crate::step::StepError;
use crate::{HttpRequest, HttpResponse, Properties, Trust};

/// Kinds of journey steps, stored in [`Command::kind`](crate::Command::kind), with input → output.
pub mod step {
    /// [`SleepArgs`](super::super::SleepArgs) → null, when the time has come.
    pub const SLEEP: &str = "sleep";
    /// [`SleepUntilArgs`](super::super::SleepUntilArgs) → null, when the time has come.
    pub const SLEEP_UNTIL: &str = "sleep_until";
    /// [`WhenArgs`](super::super::WhenArgs) → [`Moment`](super::super::Moment).
    pub const WHEN: &str = "when";
    /// [`WaitForArgs`](super::super::WaitForArgs) → [`Waited`](super::super::Waited).
    pub const WAIT_FOR: &str = "wait_for";
    /// [`SendArgs`](super::super::SendArgs) → [`Sent`](super::super::Sent).
    pub const SEND: &str = "send";
    /// [`TriggerArgs`](super::super::TriggerArgs) → null.
    pub const TRIGGER: &str = "trigger";
    /// [`HasEventArgs`](super::super::HasEventArgs) → [`Occurrences`](super::super::Occurrences).
    pub const HAS_EVENT: &str = "history.has_event";
    /// [`HasEventArgs`](super::super::HasEventArgs) → list of
    /// [`Occurrence`](super::super::Occurrence), newest first.
    pub const EVENTS: &str = "history.events";
    /// [`JourneyPastArgs`](super::super::JourneyPastArgs) →
    /// [`JourneyPast`](super::super::JourneyPast).
    pub const JOURNEY: &str = "history.journey";
    /// [`EmailPastArgs`](super::super::EmailPastArgs) → [`EmailPast`](super::super::EmailPast).
    pub const EMAIL: &str = "history.email";
    /// [`SubscribedArgs`](super::super::SubscribedArgs) → boolean.
    pub const IS_SUBSCRIBED: &str = "guard.is_subscribed";
    /// `{}` → [`Contact`](super::super::Contact), or null where the contact was deleted.
    pub const CONTACT: &str = "contact";
    /// `{}` → [`Properties`](crate::Properties) of the contact and of the person in analytics.
    pub const PERSON: &str = "person";
    /// [`VariantArgs`](super::super::VariantArgs) → one of the arms.
    pub const VARIANT: &str = "variant";
    /// [`DigestArgs`](super::super::DigestArgs) → [`Digest`](super::super::Digest).
    pub const DIGEST: &str = "digest";
    /// [`ThrottleArgs`](super::super::ThrottleArgs) → boolean: whether to continue.
    pub const THROTTLE: &str = "throttle";
    /// `{key}` → `{"found": bool, "value": …}`.
    pub const ONCE_GET: &str = "once.get";
    /// `{key, value}` → null.
    pub const ONCE_PUT: &str = "once.put";
    /// [`IdentifyArgs`](super::super::IdentifyArgs) → null.
    pub const IDENTIFY: &str = "identify";
    /// [`CaptureArgs`](super::super::CaptureArgs) → null.
    pub const CAPTURE: &str = "capture";
    /// [`HttpRequest`](crate::HttpRequest) → [`HttpResponse`](crate::HttpResponse).
    pub const HTTP: &str = "http";
    /// `{label}`; recorded only, the code never waits on it.
    pub const CHECKPOINT: &str = "checkpoint";
    /// [`SegmentArgs`](super::super::SegmentArgs) → boolean.
    pub const SEGMENT: &str = "segment.contains";
    /// [`ListArgs`](super::super::ListArgs) → boolean.
    pub const LIST: &str = "list";
    /// `{id}`; recorded only: the run takes the changed code.
    pub const PATCHED: &str = "patched";
}

/// The person, as they were when they entered the journey.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct User {
    /// The id of the contact.
    pub id: Uuid,
    /// The product's own id of the person.
    #[serde(default)]
    pub external_id: Option<String>,
    /// The email address.
    #[serde(default)]
    pub email: Option<String>,
    /// The contact's properties.
    #[serde(default)]
    pub properties: Properties,
}

impl User {
    /// A person without properties.
    pub fn new(id: Uuid, external_id: Option<String>, email: Option<String>) -> Self {
        Self {
            id,
            external_id,
            email,
            properties: Properties::new(),
        }
    }

    /// A property, where it is a string.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.properties.get(name)?.as_str()
    }
}

/// The event that enrolled the person.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TriggerEvent {
    /// The event's name.
    pub name: String,
    /// The event's properties.
    #[serde(default)]
    pub properties: Properties,
    /// Whether its source is trusted. Do not send sensitive mail because of an untrusted event:
    /// strangers can forge it.
    #[serde(default)]
    pub trust: Trust,
}

impl TriggerEvent {
    /// A trusted event.
    pub fn new(name: &str, properties: Properties) -> Self {
        Self {
            name: name.into(),
            properties,
            trust: Trust::Trusted,
        }
    }

    /// A property, where it is a string.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.properties.get(name)?.as_str()
    }
}

/// The steps a journey can take. The host records the result of each, and a replay sees the recorded
/// results. A step that fails returns a [`StepError`], which `?` turns into a failed run. A step that this
/// host does not know fails with the code [`StepError::NOT_SUPPORTED`].
#[derive(Clone)]
pub struct Ctx {
    replay: Replay,
    event: Rc<TriggerEvent>,
    run_id: Uuid,
    tosses: Rc<Cell<u64>>,
}

impl Ctx {
    pub(super) fn new(replay: Replay, event: TriggerEvent, run_id: Uuid) -> Self {
        Self {
            replay,
            event: Rc::new(event),
            run_id,
            tosses: Rc::default(),
        }
    }

    /// The event that enrolled the person.
    pub fn event(&self) -> &TriggerEvent {
        &self.event
    }

    /// Waits for any length of time. A waiting run uses no memory.
    pub fn sleep(&self, duration: Duration) -> Sleep {
        Sleep::new(&self.replay, duration)
    }

    /// Waits until an instant; returns at once where it has passed.
    pub fn sleep_until(&self, at: DateTime<Utc>) -> Sleep {
        Sleep::until(&self.replay, at)
    }

    /// Finds instants in the person's time zone:
    /// `ctx.sleep_until(ctx.when().tomorrow().at(9, 0).await?)`.
    pub fn when(&self) -> When {
        When(self.replay.clone())
    }

    /// Waits for an event of this person, up to a timeout.
    pub fn wait_for(&self, event: &str) -> WaitFor {
        WaitFor::new(&self.replay, event)
    }

    /// Sends a mail, by the key of its template, and waits for its final result.
    pub fn send(&self, template: &str) -> Send {
        Send::new(&self.replay, template)
    }

    /// Ingests an event for this person, as if the product had sent it.
    pub fn trigger(&self, event: &str) -> Trigger {
        Trigger::new(&self.replay, event)
    }

    /// This person's past events, runs and mails.
    pub fn history(&self) -> History {
        History(self.replay.clone())
    }

    /// Whether the person is subscribed.
    pub fn guard(&self) -> Guard {
        Guard(self.replay.clone())
    }

    /// The person as they are now; `None` where they were deleted.
    pub fn contact(&self) -> Asked<Option<Contact>> {
        Asked::new(&self.replay, step::CONTACT, json!({}))
    }

    /// The contact's current properties, with those of the person in analytics taking precedence. Only
    /// the contact's own where analytics gives no answer.
    pub fn person(&self) -> Asked<Properties> {
        Asked::new(&self.replay, step::PERSON, json!({}))
    }

    /// Whether the person is in a segment now. Fails with `not_supported` on a host without segments.
    pub fn in_segment(&self, id: &str) -> Asked<bool> {
        audience::in_segment(&self.replay, id)
    }

    /// A list the person can join or leave: `ctx.list("beta").join().await?`. Its steps fail with
    /// `not_supported` on a host without lists.
    pub fn list(&self, id: &str) -> List {
        List::new(&self.replay, id)
    }

    /// Sets properties of the contact, and of the person in analytics.
    pub fn identify(&self, properties: Properties) -> Asked<()> {
        let args = IdentifyArgs { properties };
        Asked::new(&self.replay, step::IDENTIFY, json!(args))
    }

    /// Sends an event to analytics. The host does not ingest it: [`trigger`](Ctx::trigger) does that.
    pub fn capture(&self, event: &str, properties: Properties) -> Asked<()> {
        let args = CaptureArgs {
            event: event.to_owned(),
            properties,
        };
        Asked::new(&self.replay, step::CAPTURE, json!(args))
    }

    /// Assigns one of the arms: always the same for a person, journey and key, and evenly distributed
    /// over people. Fails with `variant_without_arms` where `arms` is empty.
    pub fn variant(&self, key: &str, arms: &[&str]) -> Asked<String> {
        pace::variant(&self.replay, key, arms)
    }

    /// Waits for `window` and returns the trigger event with the like events that arrived meanwhile,
    /// so that one mail can summarize them.
    pub fn digest(&self, window: Duration) -> Asked<Digest> {
        pace::digest(&self.replay, window)
    }

    /// Whether to continue: true at most `limit` times within `window` for a person and journey,
    /// across enrolments.
    pub fn throttle(&self, limit: u32, window: Duration) -> Asked<bool> {
        pace::throttle(&self.replay, limit, window)
    }

    /// Runs a block once per person, journey and key, across enrolments, and returns its value. Later
    /// calls with this key return the recorded value and do not run the block. Where the block fails,
    /// nothing is recorded.
    pub async fn once<T, E, F>(&self, key: &str, block: F) -> Result<T, E>
    where
        T: Serialize + DeserializeOwned,
        E: From<StepError>,
        F: Future<Output = Result<T, E>>,
    {
        let asked = self.replay.step(step::ONCE_GET, json!({ "key": key }));
        let recorded = asked.await?;
        if recorded["found"] == true {
            return Ok(super::advance::typed(recorded["value"].clone())?);
        }
        let value = block.await?;
        let kept = serde_json::to_value(&value)
            .map_err(|error| StepError::new("value_unwritable", error.to_string()))?;
        let args = json!({ "key": key, "value": kept });
        self.replay.step(step::ONCE_PUT, args).await?;
        Ok(value)
    }

    /// Sends an HTTP request to a host that the plugin's manifest allows. A response with any status
    /// is `Ok`. The host first retries where there was no response or its status was 429 or 5xx, so
    /// the server may get the request more than once.
    pub fn http(&self, request: HttpRequest) -> Asked<HttpResponse> {
        let args = serde_json::to_value(&request).unwrap_or(Value::Null);
        Asked::new(&self.replay, step::HTTP, args)
    }

    /// Marks how far the run has come, for people who look at it.
    pub fn checkpoint(&self, label: &str) {
        self.replay
            .note(step::CHECKPOINT, json!({ "label": label }));
    }

    /// Whether this run takes the changed code: true for runs that reach this line for the first
    /// time, false for those that had passed it before the change.
    ///
    /// ```ignore
    /// if ctx.patched("shorter-wait") { ctx.sleep(days(1)).await } else { ctx.sleep(days(3)).await }
    /// ```
    pub fn patched(&self, id: &str) -> bool {
        self.replay.marker(step::PATCHED, json!({ "id": id }))
    }

    /// Ends the run early, as `exited` with this reason: `return ctx.exit("not interested")`.
    #[track_caller]
    pub fn exit<T>(&self, reason: &str) -> super::Result<T> {
        Err(Error::exit(reason))
    }

    /// A random number in `[0, 1)`, the same in every replay of the run.
    pub fn random(&self) -> f64 {
        let toss = self.tosses.get();
        self.tosses.set(toss + 1);
        let (high, low) = self.run_id.as_u64_pair();
        let bits = scramble(scramble(high).wrapping_add(low) ^ scramble(toss));
        // The 53 bits a double holds exactly.
        (bits >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// The time of the last completed step, or of entry where there is none. Never the wall clock.
    pub fn now(&self) -> DateTime<Utc> {
        self.replay.now()
    }
}

/// The finaliser of SplitMix64: spreads every bit of the input over all of the output.
fn scramble(seed: u64) -> u64 {
    let mut bits = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
