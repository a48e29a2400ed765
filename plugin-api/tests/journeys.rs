//! The SDK's guarantee: the same journal gives the same commands, whatever the code awaits and in
//! whatever order a library polls it.

use futures::stream::{FuturesUnordered, StreamExt};
use hogsend_plugin_api::call::method;
use hogsend_plugin_api::export::{Exported, Instance, create};
use hogsend_plugin_api::journey::{
    self, AdvanceIn, AdvanceOut, Ctx, Journey, RunStatus, Sent, TriggerEvent, User, days, hours,
};
use hogsend_plugin_api::{
    Command, Journeys, Manifest, Plugin, Settings, Step, StepState, Template, export_plugin,
};
use serde_json::{Value, json};

struct Suite;

impl Plugin for Suite {
    fn manifest() -> Manifest {
        Manifest::new("suite", "1.0.0")
    }

    fn new(_: &Settings) -> Result<Self, String> {
        Ok(Self)
    }
}

impl Journeys for Suite {
    fn journeys(&self) -> Vec<Journey> {
        vec![
            Journey::new("plain", plain).trigger("e"),
            Journey::new("plain-changed-kind", changed_kind).trigger("e"),
            Journey::new("plain-changed-args", changed_args).trigger("e"),
            Journey::new("plain-shorter", shorter).trigger("e"),
            Journey::new("both", both).trigger("e"),
            Journey::new("race", race).trigger("e"),
            Journey::new("fan-out", fan_out).trigger("e"),
            Journey::new("held", held).trigger("e"),
            Journey::new("late-edit", late_edit).trigger("e"),
            Journey::new("panics", panics).trigger("e"),
            Journey::new("errs", errs).trigger("e"),
            Journey::new("foreign", foreign).trigger("e"),
            Journey::new("clock", clock).trigger("e"),
        ]
    }

    fn templates(&self) -> Vec<Template> {
        Vec::new()
    }
}

export_plugin!(Suite: journeys);

async fn plain(_: User, ctx: Ctx) -> journey::Result {
    ctx.checkpoint("begun");
    ctx.send("one").prop("b", 2).prop("a", 1).await?;
    ctx.sleep(days(2)).label("rest").await;
    ctx.trigger("done").await?;
    Ok(())
}

async fn changed_kind(_: User, ctx: Ctx) -> journey::Result {
    ctx.checkpoint("begun");
    ctx.sleep(days(2)).await;
    Ok(())
}

async fn changed_args(_: User, ctx: Ctx) -> journey::Result {
    ctx.checkpoint("begun");
    ctx.send("one").prop("b", 2).prop("a", 1).await?;
    ctx.sleep(days(3)).await;
    Ok(())
}

async fn shorter(_: User, ctx: Ctx) -> journey::Result {
    ctx.checkpoint("begun");
    ctx.send("one").prop("b", 2).prop("a", 1).await?;
    Ok(())
}

async fn both(_: User, ctx: Ctx) -> journey::Result {
    futures::join!(ctx.sleep(days(1)), ctx.sleep(days(2)));
    ctx.checkpoint("joined");
    Ok(())
}

async fn race(_: User, ctx: Ctx) -> journey::Result {
    // Polls its branches in random order.
    let mut long = ctx.sleep(days(2));
    let mut short = ctx.sleep(hours(1));
    let winner = futures::select! {
        () = futures::FutureExt::fuse(&mut long) => "long",
        () = futures::FutureExt::fuse(&mut short) => "short",
    };
    drop((long, short));
    ctx.checkpoint(winner);
    ctx.sleep(hours(5)).await;
    Ok(())
}

async fn fan_out(_: User, ctx: Ctx) -> journey::Result {
    let mut all: FuturesUnordered<_> = (0..50)
        .map(|n| {
            let step = ctx.sleep(hours(n + 1));
            async move {
                step.await;
                n
            }
        })
        .collect();
    let mut order = Vec::new();
    while let Some(n) = all.next().await {
        order.push(n.to_string());
    }
    ctx.checkpoint(&order.join(","));
    Ok(())
}

/// A step begins where it is called, even if it is awaited later.
async fn held(_: User, ctx: Ctx) -> journey::Result {
    let wait = ctx.sleep(days(1));
    ctx.send("first").await?;
    wait.await;
    Ok(())
}

async fn late_edit(_: User, ctx: Ctx) -> journey::Result {
    let send = ctx.send("x").subject("s");
    let send = send.prop("deep", json!({ "z": 1, "a": [1, 2] }));
    send.await?;
    Ok(())
}

async fn panics(_: User, ctx: Ctx) -> journey::Result {
    ctx.sleep(days(1)).await;
    panic!("no such luck");
}

async fn errs(_: User, ctx: Ctx) -> journey::Result {
    ctx.trigger("x").await?;
    Ok(())
}

async fn foreign(_: User, _: Ctx) -> journey::Result {
    std::future::pending::<()>().await;
    Ok(())
}

async fn clock(_: User, ctx: Ctx) -> journey::Result {
    let begun = ctx.now();
    ctx.sleep(days(1)).await;
    let waited = (ctx.now() - begun).num_hours();
    ctx.checkpoint(&format!("{waited}h"));
    Ok(())
}

/// A run whose steps the test ends explicitly.
struct Run {
    plugin: Box<dyn Instance>,
    journey: &'static str,
    steps: Vec<Step>,
    completions: u32,
    hours: i64,
}

impl Run {
    fn new(journey: &'static str) -> Self {
        Self {
            plugin: create::<Suite>(&Settings::default()).unwrap(),
            journey,
            steps: Vec::new(),
            completions: 0,
            hours: 0,
        }
    }

    fn input(&self) -> AdvanceIn {
        let (id, at) = (uuid::Uuid::nil(), chrono::DateTime::UNIX_EPOCH);
        let event = TriggerEvent::new("e", Default::default());
        let user = User::new(id, None, None);
        let mut input = AdvanceIn::new(self.journey, id, at, user, event);
        input.steps = self.steps.clone();
        input
    }

    /// Advances without recording.
    fn peek(&self) -> AdvanceOut {
        let input = serde_json::to_vec(&self.input()).unwrap();
        let output = self.plugin.call(method::JOURNEYS_ADVANCE, &input).unwrap();
        serde_json::from_slice(&output).unwrap()
    }

    /// Advances twenty times, checks that the result is always the same, and records the new steps.
    fn advance(&mut self) -> AdvanceOut {
        let out = self.peek();
        for _ in 0..20 {
            assert_eq!(self.peek(), out, "the same journal gave other commands");
        }
        for command in &out.commands {
            let mut step = Step::issued(command);
            if command.kind == "checkpoint" {
                step.state = StepState::Noted;
            }
            self.steps.push(step);
        }
        for seq in &out.cancels {
            self.steps[*seq as usize].state = StepState::Cancelled;
        }
        out
    }

    fn end(&mut self, seq: u32, value: Value) {
        self.completions += 1;
        self.hours += 1;
        self.steps[seq as usize].state = StepState::done(
            self.completions,
            chrono::DateTime::UNIX_EPOCH + chrono::TimeDelta::hours(self.hours),
            Ok(value),
        );
    }
}

fn kinds(commands: &[Command]) -> Vec<String> {
    commands
        .iter()
        .map(|command| format!("{} {}", command.seq, command.kind))
        .collect()
}

fn sent() -> Value {
    json!(Sent::accepted(uuid::Uuid::nil()))
}

#[test]
fn a_run_goes_on_where_its_journal_ends() {
    let mut run = Run::new("plain");
    let out = run.advance();
    assert_eq!(kinds(&out.commands), ["0 checkpoint", "1 send"]);
    assert_eq!(
        out.commands[1].args,
        json!({ "template": "one", "props": { "a": 1, "b": 2 } })
    );
    assert_eq!(run.advance().commands, []);
    run.end(1, sent());
    let out = run.advance();
    assert_eq!(kinds(&out.commands), ["2 sleep"]);
    assert_eq!(
        (out.commands[0].after, out.commands[0].label.as_deref()),
        (1, Some("rest"))
    );
    run.end(2, Value::Null);
    assert_eq!(kinds(&run.advance().commands), ["3 trigger"]);
    run.end(3, Value::Null);
    assert_eq!(run.advance().status, RunStatus::Completed);
}

#[test]
fn changed_code_is_caught_with_both_sides_named() {
    let mut run = Run::new("plain");
    run.advance();
    run.end(1, sent());
    run.advance();
    for (changed, seq, recorded, code) in [
        ("plain-changed-kind", 1, "send after 0", "sleep after 0"),
        (
            "plain-changed-args",
            2,
            "sleep 'rest' after 1",
            "sleep after 1",
        ),
        (
            "plain-shorter",
            2,
            "sleep 'rest' after 1",
            "the end of the code",
        ),
    ] {
        run.journey = changed;
        match run.peek().status {
            RunStatus::Diverged(found) => {
                assert_eq!(found.seq, seq, "{changed}");
                assert!(found.recorded.starts_with(recorded), "{changed}: {found:?}");
                assert!(found.code.starts_with(code), "{changed}: {found:?}");
            }
            other => panic!("{changed}: {other:?}"),
        }
    }
}

#[test]
fn joins_wait_for_both_in_either_order() {
    for order in [[0, 1], [1, 0]] {
        let mut run = Run::new("both");
        assert_eq!(kinds(&run.advance().commands), ["0 sleep", "1 sleep"]);
        run.end(order[0], Value::Null);
        let out = run.advance();
        assert_eq!(
            (out.status, out.commands.len(), out.cancels.len()),
            (RunStatus::Waiting, 0, 0)
        );
        run.end(order[1], Value::Null);
        let out = run.advance();
        assert_eq!(
            (out.status, out.commands[0].args["label"].as_str()),
            (RunStatus::Completed, Some("joined"))
        );
    }
}

#[test]
fn a_race_is_settled_by_the_record_and_its_loser_cancelled() {
    for (winner, name) in [(0, "long"), (1, "short")] {
        let mut run = Run::new("race");
        run.advance();
        run.end(winner, Value::Null);
        let out = run.advance();
        assert_eq!(out.cancels, [1 - winner]);
        assert_eq!(out.commands[0].args["label"], name);
        // Advanced again, the code drops it again, and nothing is new.
        let out = run.advance();
        assert_eq!((out.commands.len(), out.cancels.len()), (0, 0));
        run.end(3, Value::Null);
        assert_eq!(run.advance().status, RunStatus::Completed);
    }
}

#[test]
fn two_completions_at_once_are_seen_in_their_order() {
    let mut run = Run::new("race");
    run.advance();
    run.end(1, Value::Null);
    run.end(0, Value::Null);
    let out = run.advance();
    assert_eq!(out.commands[0].args["label"], "short");
    assert!(out.cancels.is_empty() || out.cancels == [0]);
}

#[test]
fn fifty_waits_end_in_the_order_of_the_record() {
    let mut run = Run::new("fan-out");
    assert_eq!(run.advance().commands.len(), 50);
    let order: Vec<u32> = (0..50).map(|n| (n * 7) % 50).collect();
    for seq in &order {
        run.end(*seq, Value::Null);
    }
    let out = run.advance();
    let label: Vec<String> = order.iter().map(ToString::to_string).collect();
    assert_eq!(out.commands[0].args["label"], label.join(","));
}

#[test]
fn a_step_begins_where_it_is_called_for() {
    let mut run = Run::new("held");
    assert_eq!(kinds(&run.advance().commands), ["0 sleep", "1 send"]);
    run.end(0, Value::Null);
    assert_eq!(run.advance().status, RunStatus::Waiting);
    run.end(1, sent());
    assert_eq!(run.advance().status, RunStatus::Completed);
}

#[test]
fn inputs_may_be_set_until_the_first_await_and_their_order_does_not_matter() {
    let mut run = Run::new("late-edit");
    let out = run.advance();
    assert_eq!(out.commands[0].args["subject"], "s");
    assert_eq!(out.commands[0].args["props"]["deep"]["a"], json!([1, 2]));
    assert_eq!(out.commands[0].print.len(), 16);
}

#[test]
fn panics_and_errors_fail_the_run_with_message_and_place() {
    let mut run = Run::new("panics");
    run.advance();
    run.end(0, Value::Null);
    match run.advance().status {
        RunStatus::Failed {
            message, location, ..
        } => {
            assert!(message.contains("no such luck"));
            assert!(location.unwrap().contains("journeys.rs"));
        }
        other => panic!("{other:?}"),
    }
    let mut run = Run::new("errs");
    run.advance();
    run.steps[0].state = StepState::done(
        1,
        chrono::DateTime::UNIX_EPOCH,
        Err(hogsend_plugin_api::StepError::new(
            "trigger_too_deep",
            "too deep",
        )),
    );
    match run.advance().status {
        RunStatus::Failed {
            message, location, ..
        } => {
            assert_eq!(message, "too deep (trigger_too_deep)");
            assert!(location.unwrap().contains("tests/journeys.rs"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn awaiting_something_else_than_a_step_is_reported() {
    assert!(matches!(
        Run::new("foreign").advance().status,
        RunStatus::Stuck { .. }
    ));
}

#[test]
fn time_is_that_of_the_last_completion() {
    let mut run = Run::new("clock");
    run.advance();
    run.hours = 29;
    run.end(0, Value::Null);
    assert_eq!(run.advance().commands[0].args["label"], "30h");
}

#[test]
fn unknown_methods_and_broken_input_are_errors_of_the_call() {
    let plugin = create::<Suite>(&Settings::default()).unwrap();
    assert_eq!(plugin.call(9_999, b"null").unwrap_err().code, 1);
    assert_eq!(
        plugin
            .call(method::JOURNEYS_ADVANCE, b"{")
            .unwrap_err()
            .code,
        2
    );
    assert_eq!(Suite::KINDS.len(), 1);
}
