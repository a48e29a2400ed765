//! Calls, with a script in the host's place.

use chrono::TimeDelta;
use hogsend_plugin_api::call::{Ask, CallError, Reply, decode, encode};
use hogsend_plugin_api::export::{Exported, Instance, create};
use hogsend_plugin_api::{Command, Settings, Step, StepError, StepState};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::beginning;

/// Rounds of questions and answers in one call; no plugin needs that many.
const ROUNDS: usize = 16;

/// Starts a plugin. Settings have no defaults here: give every value the code reads.
pub fn start<P: Exported>(settings: &Settings) -> Result<Box<dyn Instance>, CallError> {
    create::<P>(settings)
}

/// Calls a method that answers at once.
///
/// # Panics
///
/// Where the plugin answers the same input in two ways.
pub fn ask<I: Serialize, T: DeserializeOwned>(
    plugin: &dyn Instance,
    method: u32,
    input: &I,
) -> Result<T, CallError> {
    decode(&repeat(plugin, method, &encode(input)?, 2)?)
}

/// Calls a method that may ask the host, and lets `answer` do what it asks. The clock moves by a
/// second with each round.
///
/// # Panics
///
/// Where the plugin answers the same input in two ways, or never stops asking.
pub fn call<I: Serialize, T: DeserializeOwned>(
    plugin: &dyn Instance,
    method: u32,
    input: I,
    mut answer: impl FnMut(&Command) -> Result<Value, StepError>,
) -> Result<T, CallError> {
    let mut now = beginning();
    let mut ask = Ask {
        input,
        now,
        steps: Vec::new(),
    };
    for _ in 0..ROUNDS {
        let commands = match decode(&repeat(plugin, method, &encode(&ask)?, 2)?)? {
            Reply::Done(value) => return Ok(value),
            Reply::Ask(commands) => commands,
        };
        now += TimeDelta::seconds(1);
        for command in &commands {
            let done = StepState::Done {
                pos: 1 + ask.steps.len() as u32,
                at: now,
                result: answer(command),
            };
            ask.steps.push(Step {
                state: done,
                ..Step::issued(command)
            });
        }
    }
    panic!("the plugin still asks after {ROUNDS} rounds of method {method}");
}

/// Makes the same call several times and returns the one answer they all gave.
pub(super) fn repeat(
    plugin: &dyn Instance,
    method: u32,
    input: &[u8],
    times: usize,
) -> Result<Vec<u8>, CallError> {
    let first = plugin.call(method, input);
    for _ in 1..times {
        let again = plugin.call(method, input);
        assert_eq!(
            text(&first),
            text(&again),
            "method {method} answers the same input in two ways: does it read a clock, the \
             environment, random numbers or the order of a HashMap?"
        );
    }
    first
}

fn text(answer: &Result<Vec<u8>, CallError>) -> Result<String, &CallError> {
    answer
        .as_ref()
        .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
}
