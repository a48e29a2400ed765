#![doc = include_str!("../README.md")]

mod client;
mod connection;
mod durations;
mod error;
mod expression;
mod json;
mod namespace;
mod pace;
mod problem;
mod proto;
mod settings;
#[cfg(feature = "stand-in")]
pub mod stand_in;
mod token;
mod version;
mod worker;
mod workflow;

use std::sync::Arc;
use std::time::SystemTime;

pub use client::{
    CheckFailed, Client, Event, LogLevel, PushFailed, RunDetails, RunStatus, Trigger, Triggered,
};
pub use connection::{Connection, Standing};
pub use error::CallError;
pub use namespace::{NameProblem, Namespace};
pub use pace::Pace;
pub use problem::Problem;
pub use settings::{Lookup, Settings, Tls, names};
pub use token::Token;
pub use version::{EngineVersion, OLDEST};
pub use worker::{
    Durable, EventWait, Failed, Normal, Task, Tasks, Wait, Woke, Worker, WorkerConfig, WorkerFailed,
};
pub use workflow::{Kind, Workflow};

/// The wall clock, for the times in messages. Intervals are measured by tokio's clock.
pub type Now = Arc<dyn Fn() -> SystemTime + Send + Sync>;
