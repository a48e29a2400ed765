//! Journeys: ordinary async functions that survive restarts, crashes and deployments.
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
//! After each step the host runs the function again from the top and answers the completed steps
//! from its record. The function must take the same path each time: no clock but [`Ctx::now`], no
//! environment variables, no random numbers but [`Ctx::random`], no iteration order of a `HashMap`.
//! `hogsend_plugin_kit::Run` repeats every replay and fails the test of a journey that breaks this
//! rule.
//!
//! `join!` and `select!` over steps work, because a step is numbered where it is called, not where it
//! is polled. A branch that is an async block calls its steps only when it is first polled, and
//! `select!` polls in random order: race blocks with `select_biased!`, or with `biased;` in tokio's
//! `select!`.

mod advance;
mod ask;
mod audience;
mod condition;
mod ctx;
mod definition;
mod document;
mod duration;
mod error;
mod history;
mod pace;
mod person;
mod prop;
mod send;
mod sleep;
mod template;
mod trigger;
mod wait;
mod when;

pub use crate::replay::Divergence;
pub use advance::{AdvanceIn, AdvanceOut, Cache, Catalogue, RunStatus, dispatch};
pub use ask::Asked;
pub use audience::{List, ListArgs, SegmentArgs};
pub use chrono::Weekday;
pub use condition::{Condition, Op};
pub use ctx::{Ctx, TriggerEvent, User, step};
pub use definition::{Definition, Entry, EventMatch, Goal, Journey, Late, Pin};
pub use document::{CatalogueIn, Document, DocumentFault};
pub use duration::{days, hours, minutes, seconds, weeks};
pub use error::{Error, Result};
pub use history::{
    EmailPast, EmailPastArgs, Events, HasEvent, HasEventArgs, History, JourneyPast,
    JourneyPastArgs, Occurrences,
};
pub use pace::{Digest, DigestArgs, ThrottleArgs, VariantArgs};
pub use person::{CaptureArgs, Contact, Guard, IdentifyArgs, SubscribedArgs};
pub use prop::{Prop, PropFault, PropKind};
pub use send::{Send, SendArgs, Sent};
pub use sleep::{Sleep, SleepArgs, SleepUntilArgs};
pub use template::Template;
pub use trigger::{Trigger, TriggerArgs};
pub use wait::{Limited, Occurrence, Unlimited, Wait, WaitFor, WaitForArgs, Waited};
pub use when::{At, Moment, When, WhenArgs, WhenDay};

use serde::{Deserialize, Serialize};

/// Provides journeys and the templates they send.
pub trait Journeys {
    /// The plugin's journeys. Their ids are unique over all plugins.
    fn journeys(&self) -> Vec<Journey>;

    /// The plugin's templates. Their keys are unique over all plugins.
    fn templates(&self) -> Vec<Template>;

    /// The categories of these journeys and templates, in the order the preference page shows them.
    /// A category that is used but not listed is shown by its id, after these.
    fn categories(&self) -> Vec<Category> {
        Vec::new()
    }

    /// Makes journeys of documents that the host hands over: for each document its journeys, or what is
    /// wrong with it. Must depend on the documents only. The host calls it again when documents change,
    /// and for each advance of a run that began with an earlier version of its document. A journey
    /// names its document with [`Journey::document`]. A host without `documents` never calls it. Default:
    /// documents are ignored.
    fn read_documents(
        &self,
        documents: &[Document],
    ) -> Vec<std::result::Result<Journey, DocumentFault>> {
        let _ = documents;
        Vec::new()
    }
}

/// A kind of mail people can unsubscribe from, as the preference page shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Category {
    /// The id that journeys and templates use: `product-news`.
    pub id: String,
    /// The name for people: `Product news`.
    pub name: String,
    /// What these mails are about, in one sentence.
    #[serde(default)]
    pub description: String,
}

impl Category {
    /// A category with its id, its name and its description.
    pub fn new(id: &str, name: &str, description: &str) -> Self {
        Self {
            id: id.into(),
            name: name.into(),
            description: description.into(),
        }
    }
}
