//! Journeys: ordinary async functions that survive anything.
//!
//! ```
//! use hogsend_plugin_api::journey::{self, Ctx, Entry, Journey, User, days};
//!
//! pub fn activation() -> Journey {
//!     Journey::new("activation", activate)
//!         .name("Activation")
//!         .trigger("user.created")
//!         .entry(Entry::Once)
//!         .exit_on("user.deleted")
//! }
//!
//! async fn activate(_user: User, ctx: Ctx) -> journey::Result {
//!     ctx.send("welcome").await?;
//!     ctx.sleep(days(2)).label("settle-in").await;
//!     if !ctx.history().has_event("feature.used").within(days(2)).await?.found {
//!         ctx.send("nudge").prop("days", 2).await?;
//!     }
//!     Ok(())
//! }
//! ```
//!
//! The function is run from the top again after each step, with the steps that ended answered from
//! the record. It has to take the same way each time: no clock but [`Ctx::now`], no environment, no
//! random numbers, no order of a `HashMap`. `hogsend_plugin_kit::Run` repeats every replay and
//! fails the test of a journey that does not.
//!
//! `join!` and `select!` over steps work, as steps are numbered where they are called for. Branches
//! that are blocks call for their steps only when they are first polled, and `select!` polls in
//! random order: race blocks with `select_biased!`, or with `biased;` in tokio's `select!`.

mod advance;
mod ask;
mod condition;
mod ctx;
mod definition;
mod duration;
mod error;
mod history;
mod pace;
mod person;
mod send;
mod sleep;
mod template;
mod trigger;
mod wait;
mod when;

pub use crate::replay::Divergence;
pub use advance::{AdvanceIn, AdvanceOut, Cache, Catalogue, RunStatus, dispatch};
pub use ask::Asked;
pub use chrono::Weekday;
pub use condition::{Condition, Op};
pub use ctx::{Ctx, TriggerEvent, User, step};
pub use definition::{Definition, Entry, EventMatch, Journey, Late, Pin};
pub use duration::{days, hours, minutes, seconds, weeks};
pub use error::{Error, Result};
pub use history::{
    EmailPast, EmailPastArgs, Events, HasEvent, HasEventArgs, History, JourneyPast,
    JourneyPastArgs, Occurrences,
};
pub use pace::{Digest, DigestArgs, ThrottleArgs, VariantArgs};
pub use person::{CaptureArgs, Contact, Guard, IdentifyArgs, SubscribedArgs};
pub use send::{Send, SendArgs, Sent};
pub use sleep::{Sleep, SleepArgs, SleepUntilArgs};
pub use template::{Prop, PropFault, PropKind, Template};
pub use trigger::{Trigger, TriggerArgs};
pub use wait::{Occurrence, Wait, WaitFor, WaitForArgs, Waited};
pub use when::{At, Moment, When, WhenArgs, WhenDay};

use serde::{Deserialize, Serialize};

/// Brings journeys and the templates they send.
pub trait Journeys {
    fn journeys(&self) -> Vec<Journey>;

    fn templates(&self) -> Vec<Template>;

    /// The kinds of mail these journeys and templates send, in the order people choose from. One
    /// that is not named here is shown by its id, after these.
    fn categories(&self) -> Vec<Category> {
        Vec::new()
    }
}

/// A kind of mail people may leave, as the page shows it on which they choose.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Category {
    /// What journeys and templates call it: `product-news`.
    pub id: String,
    /// For people: `Product news`.
    pub name: String,
    /// What comes with it, in a sentence.
    #[serde(default)]
    pub description: String,
}

impl Category {
    pub fn new(id: &str, name: &str, description: &str) -> Self {
        Self {
            id: id.into(),
            name: name.into(),
            description: description.into(),
        }
    }
}
