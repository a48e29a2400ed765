//! Calls of a plugin's methods, with a script in place of the host.

use chrono::TimeDelta;
use hogsend_plugin_api::call::{Ask, CallError, Reply, decode, encode};
use hogsend_plugin_api::export::{Exported, Instance, create};
use hogsend_plugin_api::{Command, LogLine, Settings, Step, StepError, StepState};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::beginning;

/// The most rounds of requests and answers in one call; more than any plugin needs.
const ROUNDS: usize = 16;

/// Creates an instance of a plugin. Defaults of settings do not apply here: pass every value the code
/// reads.
///
/// # Errors
///
/// The plugin refused the settings, or panicked.
pub fn start<P: Exported>(settings: &Settings) -> Result<Box<dyn Instance>, CallError> {
    create::<P>(settings)
}

/// Calls a method that sends no requests to the host.
///
/// # Errors
///
/// The call failed without a result.
///
/// # Panics
///
/// The plugin answers the same input in two ways.
pub fn ask<I: Serialize, T: DeserializeOwned>(
    plugin: &dyn Instance,
    method: u32,
    input: &I,
) -> Result<T, CallError> {
    decode(&repeat(plugin, method, &encode(input)?, 2)?)
}

/// Calls a method that may send requests to the host, and lets `answer` answer them. The clock
/// advances by one second with each round.
///
/// # Errors
///
/// The call failed without a result.
///
/// # Panics
///
/// The plugin answers the same input in two ways, or still sends requests after 16 rounds.
pub fn call<I: Serialize, T: DeserializeOwned>(
    plugin: &dyn Instance,
    method: u32,
    input: I,
    mut answer: impl FnMut(&Command) -> Result<Value, StepError>,
) -> Result<T, CallError> {
    talk(plugin, method, &input, &mut answer).value
}

/// A call and what it logged.
pub(super) struct Talked<T> {
    pub value: Result<T, CallError>,
    pub log: Vec<LogLine>,
}

/// As [`call`], and keeps the lines of the log.
pub(super) fn talk<I: Serialize, T: DeserializeOwned>(
    plugin: &dyn Instance,
    method: u32,
    input: &I,
    mut answer: impl FnMut(&Command) -> Result<Value, StepError>,
) -> Talked<T> {
    let mut log = Vec::new();
    let value = rounds(plugin, method, input, &mut answer, &mut log);
    Talked { value, log }
}

fn rounds<I: Serialize, T: DeserializeOwned>(
    plugin: &dyn Instance,
    method: u32,
    input: &I,
    answer: &mut dyn FnMut(&Command) -> Result<Value, StepError>,
    log: &mut Vec<LogLine>,
) -> Result<T, CallError> {
    let mut now = beginning();
    let mut ask = Ask::new(input, now);
    for _ in 0..ROUNDS {
        let reply: Reply<T> = decode(&repeat(plugin, method, &encode(&ask)?, 2)?)?;
        log.extend(reply.log);
        ask.logged = log.len() as u32;
        if let Some(value) = reply.done {
            return Ok(value);
        }
        now += TimeDelta::seconds(1);
        for command in &reply.ask {
            let done = StepState::done(1 + ask.steps.len() as u32, now, answer(command));
            ask.steps.push(Step::issued(command).with_state(done));
        }
    }
    panic!("the plugin still sends requests after {ROUNDS} rounds of method {method}");
}

/// For [`call`]: a host that is asked nothing.
///
/// # Panics
///
/// Always: the plugin sent a request.
pub fn no_requests(command: &Command) -> Result<Value, StepError> {
    panic!("the plugin sends the request '{}'", command.kind);
}

/// Makes the same call several times and returns their common answer.
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
