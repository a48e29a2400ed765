//! Replay in difficult cases: races, late completions, and code that changed under a waiting run.

use futures::FutureExt as _;
use hogsend_plugin_api::call::{CallError, method};
use hogsend_plugin_api::export::Instance;
use hogsend_plugin_api::journey::{
    self, Ctx, Divergence, Journey, RunStatus, Sent, TriggerEvent, User, days, hours,
};
use hogsend_plugin_api::{
    Journeys, Manifest, Plugin, Properties, Settings, StepError, StepState, Template, export_plugin,
};
use hogsend_plugin_kit::{self as kit, Run};
use serde_json::{Value, json};

struct Replays;

impl Plugin for Replays {
    fn manifest() -> Manifest {
        Manifest::new("replays", "1.0.0")
    }

    fn new(_: &Settings) -> Result<Self, String> {
        Ok(Self)
    }
}

impl Journeys for Replays {
    fn journeys(&self) -> Vec<Journey> {
        vec![
            Journey::new("plain", plain),
            Journey::new("plain-inserted", plain_inserted),
            Journey::new("plain-args", plain_args),
            Journey::new("plain-label", plain_label),
            Journey::new("plain-moved", plain_moved),
            Journey::new("plain-no-note", plain_no_note),
            Journey::new("plain-new-note", plain_new_note),
            Journey::new("plain-bursts", plain_bursts),
            Journey::new("plain-forgets", plain_forgets),
            Journey::new("both", both),
            Journey::new("both-one", both_one),
            Journey::new("race", race),
            Journey::new("tangle", tangle),
            Journey::new("blocks", blocks),
            Journey::new("blocks-in-order", blocks_in_order),
            Journey::new("edited-late", edited_late),
            Journey::new("echo", echo),
            Journey::new("handles", handles),
        ]
    }

    fn templates(&self) -> Vec<Template> {
        Vec::new()
    }
}

export_plugin!(Replays: journeys);

async fn plain(_: User, ctx: Ctx) -> journey::Result {
    ctx.send("hello").prop("n", 1).await?;
    ctx.checkpoint("greeted");
    ctx.sleep(days(1)).label("rest").await;
    ctx.send("bye").await?;
    Ok(())
}

async fn plain_inserted(_: User, ctx: Ctx) -> journey::Result {
    ctx.send("hello").prop("n", 1).await?;
    ctx.checkpoint("greeted");
    ctx.history().has_event("paid").await?;
    ctx.sleep(days(1)).label("rest").await;
    Ok(())
}

async fn plain_args(_: User, ctx: Ctx) -> journey::Result {
    ctx.send("hello").prop("n", 2).await?;
    Ok(())
}

/// Labels are for people: a changed label is not a divergence.
async fn plain_label(_: User, ctx: Ctx) -> journey::Result {
    ctx.send("hello").prop("n", 1).await?;
    ctx.checkpoint("greeted");
    ctx.sleep(days(1)).label("breathe").await;
    ctx.send("bye").await?;
    Ok(())
}

/// The same steps, one of them called at another time.
async fn plain_moved(_: User, ctx: Ctx) -> journey::Result {
    let hello = ctx.send("hello").prop("n", 1);
    ctx.checkpoint("greeted");
    hello.await?;
    Ok(())
}

async fn plain_no_note(_: User, ctx: Ctx) -> journey::Result {
    ctx.send("hello").prop("n", 1).await?;
    ctx.sleep(days(1)).label("rest").await;
    Ok(())
}

async fn plain_new_note(_: User, ctx: Ctx) -> journey::Result {
    ctx.send("hello").prop("n", 1).await?;
    ctx.checkpoint("welcomed");
    ctx.sleep(days(1)).label("rest").await;
    Ok(())
}

/// Diverges from the journal and panics before it waits again.
async fn plain_bursts(_: User, ctx: Ctx) -> journey::Result {
    ctx.send("hello").prop("n", 1).await?;
    ctx.checkpoint("welcomed");
    panic!("after the change");
}

/// Waits for a shorter time than recorded.
async fn plain_forgets(_: User, ctx: Ctx) -> journey::Result {
    ctx.send("hello").prop("n", 1).await?;
    std::future::pending::<()>().await;
    Ok(())
}

async fn both(_: User, ctx: Ctx) -> journey::Result {
    futures::join!(ctx.sleep(days(1)), ctx.sleep(days(2)));
    ctx.checkpoint("joined");
    Ok(())
}

async fn both_one(_: User, ctx: Ctx) -> journey::Result {
    ctx.sleep(days(1)).await;
    ctx.checkpoint("joined");
    Ok(())
}

/// The same two waits as `both`, where the first to end wins.
async fn race(_: User, ctx: Ctx) -> journey::Result {
    let (mut long, mut short) = (ctx.sleep(days(1)).fuse(), ctx.sleep(days(2)).fuse());
    let winner = futures::select! { () = long => "first", () = short => "second" };
    drop((long, short));
    ctx.checkpoint(winner);
    ctx.sleep(days(9)).await;
    Ok(())
}

/// Races inside joins, polled in random order.
async fn tangle(_: User, ctx: Ctx) -> journey::Result {
    let lap = async |name: &str, a: u64, b: u64| {
        for round in 0..3 {
            let (mut left, mut right) = (
                ctx.sleep(hours(a + round)).fuse(),
                ctx.sleep(hours(b + round)).fuse(),
            );
            let winner = futures::select! { () = left => "left", () = right => "right" };
            ctx.checkpoint(&format!("{name}{round}-{winner}"));
        }
        ctx.send(name).await
    };
    let (first, second) = futures::join!(lap("x", 1, 5), lap("y", 4, 2));
    first?;
    second?;
    Ok(())
}

/// Which block calls its step first is random.
async fn blocks(_: User, ctx: Ctx) -> journey::Result {
    let mut left = Box::pin(async { ctx.sleep(days(1)).await }.fuse());
    let mut right = Box::pin(async { ctx.sleep(days(2)).await }.fuse());
    futures::select! { () = left => {}, () = right => {} }
    Ok(())
}

async fn blocks_in_order(_: User, ctx: Ctx) -> journey::Result {
    let mut left = Box::pin(async { ctx.sleep(days(1)).await }.fuse());
    let mut right = Box::pin(async { ctx.sleep(days(2)).await }.fuse());
    futures::select_biased! { () = left => {}, () = right => {} }
    Ok(())
}

async fn edited_late(_: User, ctx: Ctx) -> journey::Result {
    let mail = ctx.send("hello");
    ctx.sleep(hours(1)).await;
    mail.subject("too late").await?;
    Ok(())
}

/// Passes on what it was given.
async fn echo(_: User, ctx: Ctx) -> journey::Result {
    let given = ctx.event().properties["given"].clone();
    ctx.trigger("echo").prop("given", given).await?;
    Ok(())
}

async fn handles(_: User, ctx: Ctx) -> journey::Result {
    match ctx.trigger("x").await {
        Err(error) if error.code == "trigger_too_deep" => ctx.checkpoint("too-deep"),
        other => ctx.checkpoint(&format!("{other:?}")),
    }
    Ok(())
}

fn plugin() -> Box<dyn Instance> {
    kit::start::<Replays>(&Settings::default()).unwrap()
}

fn event(properties: Value) -> TriggerEvent {
    let properties: Properties = serde_json::from_value(properties).unwrap();
    TriggerEvent::new("e", properties)
}

fn begin<'a>(plugin: &'a dyn Instance, journey: &str) -> Run<'a> {
    Run::begin(plugin, journey, kit::user(), event(json!({})))
}

fn sent() -> Result<Value, StepError> {
    Ok(json!(Sent::accepted(uuid::Uuid::nil())))
}

fn divergence(run: &Run<'_>) -> Divergence {
    match run.status() {
        RunStatus::Diverged(divergence) => divergence.clone(),
        other => panic!("not diverged: {other:?}"),
    }
}

#[test]
fn changed_code_is_reported_with_the_step_and_both_sides() {
    let plugin = plugin();
    for (changed, seq, recorded, code) in [
        (
            "plain-inserted",
            2,
            "sleep 'rest' after 1 completions",
            "history.has_event after 1 completions",
        ),
        (
            "plain-moved",
            1,
            "checkpoint after 1 completions",
            "checkpoint after 0 completions",
        ),
        (
            "plain-no-note",
            1,
            "checkpoint after 1 completions",
            "sleep 'rest' after 1 completions",
        ),
    ] {
        let mut run = begin(plugin.as_ref(), "plain");
        run.answer("send", sent());
        let found = divergence(run.switch(changed));
        assert_eq!(
            (found.seq, found.recorded.as_str(), found.code.as_str()),
            (seq, recorded, code),
            "{changed}"
        );
    }
}

#[test]
fn changed_inputs_are_told_apart_without_being_shown() {
    let plugin = plugin();
    for (changed, seq) in [("plain-args", 0), ("plain-new-note", 1)] {
        let mut run = begin(plugin.as_ref(), "plain");
        run.answer("send", sent());
        let found = divergence(run.switch(changed));
        assert_eq!(found.seq, seq);
        assert_ne!(found.recorded, found.code);
        for side in [&found.recorded, &found.code] {
            let (_, print) = side.split_once(" with inputs ").unwrap();
            assert_eq!(print.len(), 16, "{side}");
        }
    }
}

#[test]
fn a_label_may_change() {
    let plugin = plugin();
    let mut run = begin(plugin.as_ref(), "plain");
    run.answer("send", sent()).switch("plain-label");
    run.pass(days(1)).answer("send", sent());
    assert_eq!(run.status(), &RunStatus::Completed);
}

#[test]
fn code_that_left_its_journal_is_parked_even_where_it_then_panics() {
    let plugin = plugin();
    let mut run = begin(plugin.as_ref(), "plain");
    run.answer("send", sent());
    let found = divergence(run.switch("plain-bursts"));
    assert_eq!(found.seq, 1);
}

#[test]
fn a_step_the_code_no_longer_waits_on_is_missed_at_once() {
    let plugin = plugin();
    let mut run = begin(plugin.as_ref(), "both");
    let found = divergence(run.switch("both-one"));
    assert_eq!(
        (found.seq, found.recorded.as_str()),
        (1, "sleep after 0 completions")
    );
    assert_eq!(found.code, "nothing more before it waits");

    let mut run = begin(plugin.as_ref(), "plain");
    run.answer("send", sent()).switch("plain-forgets");
    assert!(
        matches!(run.status(), RunStatus::Stuck { .. }),
        "{:?}",
        run.status()
    );
}

/// A race became a join: its loser was dropped, and nothing would ever end it.
#[test]
fn waiting_on_a_step_that_was_dropped_is_reported() {
    let plugin = plugin();
    let mut run = begin(plugin.as_ref(), "race");
    run.complete(1, Ok(Value::Null));
    assert_eq!(run.journal()[0].state, StepState::Cancelled);
    assert_eq!(run.checkpoints(), ["second"]);
    let found = divergence(run.switch("both"));
    assert_eq!(
        (found.seq, found.recorded.as_str()),
        (0, "sleep after 0 completions, dropped")
    );
    assert_eq!(found.code, "sleep after 0 completions, still waited on");
}

#[test]
fn the_loser_of_a_race_may_end_as_well_and_changes_nothing() {
    let plugin = plugin();
    for (order, winner) in [([0, 1], "first"), ([1, 0], "second")] {
        let mut run = begin(plugin.as_ref(), "race");
        // Both were due before the code saw either; the kit does not cancel an ended step.
        run.complete_all(order.map(|seq| (seq, Ok(Value::Null))).into());
        assert_eq!(run.checkpoints(), [winner]);
        assert!(
            run.journal()[..2]
                .iter()
                .all(|step| matches!(step.state, StepState::Done { .. }))
        );
        assert_eq!(run.open().len(), 1);
        run.pass(days(9));
        assert_eq!(run.status(), &RunStatus::Completed);
    }
}

/// Every advance is replayed twenty times by the kit, so this is some two thousand replays.
#[test]
fn random_polling_changes_nothing_in_two_hundred_runs() {
    let plugin = plugin();
    let trace = || {
        let mut run = begin(plugin.as_ref(), "tangle");
        run.pass(days(1))
            .answer("send", sent())
            .answer("send", sent());
        assert_eq!(run.status(), &RunStatus::Completed);
        (
            run.checkpoints().join(" "),
            serde_json::to_string(run.journal()).unwrap(),
        )
    };
    let first = trace();
    assert_eq!(
        first.0,
        "x0-left y0-right x1-left y1-right x2-left y2-right"
    );
    for _ in 0..200 {
        assert_eq!(trace(), first);
    }
}

#[test]
fn blocks_may_race_in_a_fixed_order() {
    let plugin = plugin();
    for _ in 0..200 {
        let mut run = begin(plugin.as_ref(), "blocks-in-order");
        run.pass(days(1));
        assert_eq!(run.status(), &RunStatus::Completed);
    }
}

#[test]
#[should_panic(expected = "answers the same input in two ways")]
fn code_that_takes_a_way_by_chance_fails_its_test() {
    let plugin = plugin();
    begin(plugin.as_ref(), "blocks");
}

#[test]
fn a_step_cannot_change_once_the_host_has_it() {
    let plugin = plugin();
    let mut run = begin(plugin.as_ref(), "edited-late");
    run.pass(hours(1));
    match run.status() {
        RunStatus::Failed {
            message, location, ..
        } => {
            assert!(message.contains("after an .await"), "{message}");
            assert!(
                location.as_ref().unwrap().contains("tests/replay.rs"),
                "{location:?}"
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_failed_step_reaches_the_code_as_an_error_it_can_handle() {
    let plugin = plugin();
    let mut run = begin(plugin.as_ref(), "handles");
    run.answer(
        "trigger",
        Err(StepError::new("trigger_too_deep", "too deep")),
    );
    assert_eq!(run.checkpoints(), ["too-deep"]);
    assert_eq!(run.status(), &RunStatus::Completed);
}

/// The host's database and the plugin's build may order the keys of an object differently.
#[test]
fn the_order_of_keys_changes_no_command() {
    let plugin = plugin();
    let reply = |given: &str, steps: &str| {
        let input = format!(
            r#"{{"steps":{steps},"journey":"echo","event":{{"properties":{{"given":{given}}},"name":"e"}},
            "started_at":"2026-01-01T00:00:00Z","run_id":"00000000-0000-0000-0000-000000000002",
            "user":{{"id":"00000000-0000-0000-0000-000000000001"}},"later_field":1}}"#
        );
        plugin
            .call(method::JOURNEYS_ADVANCE, input.as_bytes())
            .unwrap()
    };
    let one = reply(r#"{"a":1,"b":{"c":[{"x":1,"y":2}],"d":null}}"#, "[]");
    let other = reply(r#"{"b":{"d":null,"c":[{"y":2,"x":1}]},"a":1}"#, "[]");
    assert_eq!(String::from_utf8(one.clone()), String::from_utf8(other));

    // Recorded with one order, replayed with the other: the same step.
    let out: Value = serde_json::from_slice(&one).unwrap();
    let print = out["commands"][0]["print"].as_str().unwrap();
    let steps =
        format!(r#"[{{"state":"open","print":"{print}","kind":"trigger","after":0,"seq":0}}]"#);
    let again: Value = serde_json::from_slice(&reply(
        r#"{"b":{"d":null,"c":[{"y":2,"x":1}]},"a":1}"#,
        &steps,
    ))
    .unwrap();
    assert_eq!(
        again,
        json!({ "status": "waiting", "commands": [], "cancels": [] })
    );
}

/// A fingerprint is stored for as long as a run may sleep, so its value is part of the contract.
#[test]
fn prints_are_the_same_in_every_build() {
    let plugin = plugin();
    let run = begin(plugin.as_ref(), "plain");
    assert_eq!(run.journal()[0].print, "41d3b16d2e765eae");
}

#[test]
fn a_journey_nobody_brings_is_named() {
    let input = json!({
        "journey": "nowhere", "run_id": uuid::Uuid::nil(), "started_at": kit::beginning(),
        "user": kit::user(), "event": event(json!({})), "steps": [],
    });
    let error =
        kit::ask::<_, Value>(plugin().as_ref(), method::JOURNEYS_ADVANCE, &input).unwrap_err();
    assert_eq!(error.code, CallError::BAD_INPUT);
    assert!(error.message.contains("'nowhere'"), "{error}");
}
