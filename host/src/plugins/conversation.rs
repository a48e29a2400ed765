//! A call in which the plugin asks the host to perform commands.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use hogsend_plugin_api::call::{Ask, Reply};
use hogsend_plugin_api::{Command, Step, StepState};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::caller::{Caller, ErrorKind, PluginError};
use super::perform::{Performer, Scope};
use crate::clock::Clock;
use crate::foreign::Foreign;

/// Rounds of commands and answers in one call.
const ROUNDS: usize = 16;
/// Commands in one round. The host performs them concurrently.
const COMMANDS_MAX: usize = 32;
/// Deadline of the whole call.
const DEADLINE: Duration = Duration::from_secs(75);

/// Calls a method, performs the commands the plugin asks for, and calls again with the answers,
/// until the plugin is done. The answer counts as received at `arrived`; `None` stands for now.
pub(super) async fn converse<I: Serialize, T: DeserializeOwned + Foreign>(
    caller: &Caller,
    performer: &Performer,
    scope: &Scope,
    clock: &Clock,
    method: u32,
    input: I,
    arrived: Option<DateTime<Utc>>,
) -> Result<T, PluginError> {
    // A plugin with its own connections may have had an effect in any call.
    let begun = AtomicBool::new(false);
    let talk = async {
        let mut ask = Ask {
            input,
            now: clock.now(),
            steps: Vec::new(),
        };
        for _ in 0..ROUNDS {
            let commands: Vec<Command> = match caller.ask(method, &ask).await? {
                Reply::Done(mut value) => {
                    T::admit(&mut value, arrived.unwrap_or_else(|| clock.now()));
                    return Ok(value);
                }
                Reply::Ask(commands) => commands,
            };
            if commands.len() > COMMANDS_MAX {
                let message = format!(
                    "asked for {} commands at once; at most {COMMANDS_MAX} are performed",
                    commands.len()
                );
                return Err(caller.error(ErrorKind::Protocol, message));
            }
            let effect = |command: &Command| !command.kind.starts_with("cache_");
            begun.fetch_or(commands.iter().any(effect), Ordering::Relaxed);
            let answers = join_all(
                commands
                    .iter()
                    .map(|command| performer.perform(scope, command)),
            )
            .await;
            for (command, result) in commands.iter().zip(answers) {
                record(&mut ask.steps, command, clock.now(), result);
            }
        }
        Err(caller.error(
            ErrorKind::Protocol,
            format!("still asks for commands after {ROUNDS} rounds"),
        ))
    };
    let deadline = DEADLINE.max(caller.patience());
    let done = tokio::time::timeout(deadline, talk).await;
    let done = done.unwrap_or_else(|_| {
        Err(caller.error(
            ErrorKind::Deadline,
            format!("did not finish method {method} within {deadline:?}"),
        ))
    });
    done.map_err(|mut error| {
        let alone = caller.manifest.blocking && error.kind != ErrorKind::Busy;
        error.begun = alone || begun.load(Ordering::Relaxed);
        error
    })
}

fn record(
    steps: &mut Vec<Step>,
    command: &Command,
    at: DateTime<Utc>,
    result: Result<serde_json::Value, hogsend_plugin_api::StepError>,
) {
    let pos = 1 + steps.len() as u32;
    steps.push(Step {
        state: StepState::Done { pos, at, result },
        ..Step::issued(command)
    });
}
