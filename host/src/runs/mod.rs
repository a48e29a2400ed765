//! Runs: one person's pass through a journey, advanced step by step, and what administrators decide about
//! broken ones.
//!
//! A worker claims a run that is due, replays its journal in the journey's plugin, performs the steps that
//! the code asks for, and records all of it in one transaction (`advance.rs`). Which run it claims and when
//! is up to its engine: the embedded one claims what is due in batches ([`claim_due`]), others name a run
//! ([`advance_one`]). The row decides in both cases.
//!
//! ```text
//!                 enrolment, restart
//!                         │
//!                         ▼        advance
//!    retry,   ┌──────► active ───────────────► waiting ◄──┐
//!    resume   │           │                       │ │     │ advance
//!             │           │                       │ └─────┘
//!             │           └───────────┬───────────┘
//!             │                       │ advance; only `exited`: event, merge, administrator
//!             │           ┌───────────┼───────────┐
//!             │           ▼           ▼           ▼
//!             └────── failed,     completed     exited
//!                     stuck           │           ▲
//!                         │           │ forced restart
//!                         │           └──────────►│
//!                         └───────────────────────┘
//!                           exit, restart
//! ```
//!
//! | Transition | Made by | Where |
//! |---|---|---|
//! | to `active` | an event, or an administrator who enrols somebody | `enrolment/enrol.rs` |
//! | | an administrator who restarts the journey for a person | [`decide::restart`] |
//! | `active`, `waiting` to any but `active` | the worker that advances the run | `record.rs` |
//! | `active`, `waiting` to `exited` | an event that meets an exit condition | `enrolment/enrol.rs` |
//! | | an address that arrives, so that the journey begins anew | `enrolment/enrol.rs` |
//! | | a merge of two contacts that both have a run of the journey | `contacts/resolve` |
//! | `failed`, `stuck` to `active` | an administrator who retries or resumes it | [`decide`] |
//! | any but `completed` and `exited` to `exited` | an administrator who exits or restarts it | [`decide`] |
//! | `completed` to `exited` | an administrator who forces a restart | [`decide::restart`] |
//!
//! [`RunState::may_become`](crate::states::RunState::may_become) is the table of them.

mod advance;
mod claim;
pub mod decide;
mod end;
mod enrich;
mod journal;
mod record;
mod recorder;
mod standing;
mod step;
mod wait;

pub use claim::{advance_due, advance_one, claim_due, give_back, perform, places, renew};
pub use recorder::Recorder;
pub use standing::Standing;
