//! A call in which the plugin asks the host to perform commands.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use hogsend_plugin_api::call::{Ask, Reply};
use hogsend_plugin_api::{Command, LogLevel, LogLine, Step, StepState, limits};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::caller::{Caller, ErrorKind, PluginError};
use super::perform::{Performer, Scope};
use crate::clock::Clock;
use crate::foreign::{self, Foreign};

/// Rounds of commands and answers in one call.
const ROUNDS: usize = limits::ROUNDS.most;
/// Deadline of the whole call.
const DEADLINE: Duration = Duration::from_secs(limits::CONVERSATION_SECONDS.most as u64);
/// Deadline of a call that a request to this host waits for. Vendors give up after 10 seconds or later.
const WEBHOOK_DEADLINE: Duration = Duration::from_secs(limits::WEBHOOK_SECONDS.most as u64);

/// What a conversation is for.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    /// Work of the worker.
    Work,
    /// A webhook that was received at this time, and whose sender waits.
    Webhook(DateTime<Utc>),
}

/// Calls a method, performs the commands the plugin asks for, and calls again with the answers,
/// until the plugin is done. The answer to a webhook counts as received with the webhook.
pub(super) async fn converse<I: Serialize, T: DeserializeOwned + Foreign>(
    caller: &Caller,
    performer: &Performer,
    scope: &Scope,
    clock: &Clock,
    method: u32,
    input: I,
    purpose: Purpose,
) -> Result<T, PluginError> {
    let deadline = match purpose {
        Purpose::Work => DEADLINE.max(caller.patience()),
        Purpose::Webhook(_) => WEBHOOK_DEADLINE,
    };
    // A plugin with its own connections may have had an effect in any call.
    let begun = AtomicBool::new(false);
    let talk = async {
        let mut ask = Ask::new(input, clock.now());
        ask.deadline_ms = u64::try_from(deadline.as_millis()).ok();
        let mut held = 0;
        for _ in 0..ROUNDS {
            let reply: Reply<T> = caller.ask(method, &ask).await?;
            log(caller, &mut ask.logged, &reply.log);
            if let Some(value) = reply.done {
                let arrived = match purpose {
                    Purpose::Work => clock.now(),
                    Purpose::Webhook(at) => at,
                };
                return caller.admit(method, value, arrived);
            }
            let commands = reply.ask;
            if commands.is_empty() {
                let message = "neither answered nor asked for anything".to_owned();
                return Err(caller.error(ErrorKind::Protocol, message));
            }
            // The host performs them concurrently.
            limits::COMMANDS
                .check(commands.len())
                .map_err(|why| caller.beyond(method, &why))?;
            let effect = |command: &Command| !command.kind.starts_with("cache_");
            begun.fetch_or(commands.iter().any(effect), Ordering::Relaxed);
            let answers = join_all(
                commands
                    .iter()
                    .map(|command| performer.perform(scope, command)),
            )
            .await;
            for (command, result) in commands.iter().zip(answers) {
                // All of it is held, and given to the plugin again in each round.
                held += limits::size(&command.args) + result.as_ref().map_or(0, limits::size);
                limits::CONVERSATION
                    .check(held)
                    .map_err(|why| caller.beyond(method, &why))?;
                record(&mut ask.steps, command, clock.now(), result);
            }
        }
        Err(caller.error(
            ErrorKind::Protocol,
            format!("still asks for commands after {ROUNDS} rounds"),
        ))
    };
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

/// Logs what the plugin has to say. `logged` counts the lines of this call.
fn log(caller: &Caller, logged: &mut u32, lines: &[LogLine]) {
    let rest = limits::LOG_LINES_MAX.saturating_sub(*logged as usize);
    *logged = logged.saturating_add(lines.len() as u32);
    let plugin = &caller.manifest.id;
    for line in lines.iter().take(rest) {
        let text = foreign::text(&line.text, limits::LOG_TEXT_MAX);
        match line.level {
            LogLevel::Error => tracing::error!(plugin, "plugin '{plugin}': {text}"),
            LogLevel::Warn => tracing::warn!(plugin, "plugin '{plugin}': {text}"),
            LogLevel::Debug => tracing::debug!(plugin, "plugin '{plugin}': {text}"),
            _ => tracing::info!(plugin, "plugin '{plugin}': {text}"),
        }
    }
}

fn record(
    steps: &mut Vec<Step>,
    command: &Command,
    at: DateTime<Utc>,
    result: Result<serde_json::Value, hogsend_plugin_api::StepError>,
) {
    let pos = 1 + steps.len() as u32;
    let done = StepState::done(pos, at, result);
    steps.push(Step::issued(command).with_state(done));
}
