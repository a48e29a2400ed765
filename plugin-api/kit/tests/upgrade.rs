//! Runs that a library of an earlier plugin-api recorded, continued by this one.

use std::time::Duration;

use chrono::Weekday;
use hogsend_plugin_api::call::{decode, encode, method};
use hogsend_plugin_api::export::Instance;
use hogsend_plugin_api::journey::{
    self, AdvanceIn, AdvanceOut, Condition, Ctx, Journey, RunStatus, TriggerEvent, User, days,
    hours, minutes,
};
use hogsend_plugin_api::{
    HttpMethod, HttpRequest, Journeys, Manifest, Plugin, Properties, Settings, StepState, Template,
    export_plugin,
};
use hogsend_plugin_kit::{self as kit, Run};
use serde::Deserialize as _;
use serde_json::{Value, json};

/// The inputs of an advance for each step of the journey, recorded with plugin-api 1.0.0-draft, whose
/// fingerprints covered nulls and defaults.
const RECORDED: &str = include_str!("fixtures/journal-draft.json");

struct Upgraded;

impl Plugin for Upgraded {
    fn manifest() -> Manifest {
        Manifest::new("upgraded", "1.0.0")
    }

    fn new(_: &Settings) -> Result<Self, String> {
        Ok(Self)
    }
}

impl Journeys for Upgraded {
    fn journeys(&self) -> Vec<Journey> {
        vec![Journey::new("every-step", every_step)]
    }

    fn templates(&self) -> Vec<Template> {
        Vec::new()
    }
}

export_plugin!(Upgraded: journeys);

/// Takes every kind of step, with and without its options.
async fn every_step(_: User, ctx: Ctx) -> journey::Result {
    ctx.sleep(Duration::ZERO).await;
    ctx.sleep(days(2)).label("settle-in").await;
    ctx.sleep_until("2026-02-01T09:00:00Z".parse().map_err(journey_error)?)
        .await;
    ctx.when().next(Weekday::Mon).at(9, 0).await?;
    ctx.when().tomorrow().at(0, 0).await?;
    ctx.when().in_(hours(5)).at(9, 30).await?;
    ctx.when().window((22, 0), (6, 0)).await?;
    ctx.wait_for("a").timeout(days(4)).await;
    ctx.wait_for("b")
        .where_(Condition::All(vec![
            Condition::eq("plan", "pro"),
            Condition::eq("trial", false),
            Condition::exists("seats"),
        ]))
        .lookback(Duration::ZERO)
        .timeout(minutes(5))
        .label("pro")
        .await;
    ctx.send("plain").await?;
    ctx.send("full")
        .to("ann@example.com")
        .subject("")
        .category("news")
        .not_after(hours(3))
        .prop("n", 0)
        .prop("nothing", Value::Null)
        .prop("list", json!([]))
        .await?;
    ctx.trigger("t").await?;
    ctx.trigger("t").prop("x", false).for_user("u2").await?;
    ctx.history().has_event("a").await?;
    ctx.history().has_event("a").within(days(1)).await?;
    ctx.history().events("a").await?;
    ctx.history().journey("j").await?;
    ctx.history().email("full").await?;
    ctx.guard().is_subscribed().await?;
    ctx.guard().is_subscribed_to("news").await?;
    ctx.contact().await?;
    ctx.person().await?;
    ctx.variant("arm", &["a", "b"]).await?;
    ctx.digest(hours(1)).await?;
    ctx.throttle(0, days(1)).await?;
    ctx.once("key", async { journey::Result::Ok(7) }).await?;
    ctx.identify(Properties::new()).await?;
    ctx.capture("c", Properties::new()).await?;
    ctx.http(HttpRequest::new(HttpMethod::Get, "https://example.com"))
        .await?;
    ctx.http(
        HttpRequest::new(HttpMethod::Post, "https://example.com")
            .header("accept", "*/*")
            .body("{}")
            .timeout(minutes(1)),
    )
    .await?;
    ctx.checkpoint("checked");
    if ctx.patched("patch") {
        ctx.checkpoint("");
    }
    ctx.sleep(days(30)).await;
    Ok(())
}

fn journey_error(error: impl std::error::Error) -> journey::Error {
    journey::Error::new(error.to_string())
}

fn event() -> TriggerEvent {
    serde_json::from_value(json!({ "name": "x" })).unwrap()
}

/// What the host would answer to a step of this kind.
fn answer(kind: &str) -> Value {
    let at = "2026-02-02T09:00:00Z";
    match kind {
        "when" => json!({ "at": at, "zone": "UTC" }),
        "wait_for" => json!("timed_out"),
        "send" => json!({ "skipped": { "reason": "unsubscribed" } }),
        "history.has_event" => json!({ "found": false, "count": 0 }),
        "history.events" => json!([]),
        "history.journey" => {
            json!({ "entered": 0, "completed": 0, "active": false })
        }
        "history.email" => json!({ "sent": 0, "opened": false, "clicked": false }),
        "guard.is_subscribed" | "throttle" => json!(true),
        "contact" => Value::Null,
        "person" => json!({}),
        "variant" => json!("a"),
        "digest" => json!({ "events": [], "count": 0 }),
        "once.get" => json!({ "found": false }),
        "http" => json!({ "status": 200 }),
        _ => Value::Null,
    }
}

/// The journal of the whole run, which waits on its last step.
fn journal(plugin: &dyn Instance) -> Value {
    let mut run = Run::begin(plugin, "every-step", kit::user(), event());
    loop {
        assert_eq!(run.status(), &RunStatus::Waiting);
        let open: Vec<_> = run.open().into_iter().cloned().collect();
        assert_eq!(open.len(), 1);
        let step = &open[0];
        if step.kind == "sleep" && step.args["ms"] == 30 * 86_400_000_u64 {
            return json!(run.journal());
        }
        run.complete(step.seq, Ok(answer(&step.kind)));
    }
}

/// The journal with only its first steps, the last of which is open.
fn first(steps: &[Value], count: usize) -> AdvanceIn {
    let mut steps = steps[..count].to_vec();
    if let Some(last) = steps.last_mut().filter(|last| last["state"] != "noted") {
        last["state"] = json!("open");
    }
    let input = json!({
        "journey": "every-step", "run_id": "00000000-0000-0000-0000-000000000002",
        "started_at": kit::beginning(), "user": kit::user(), "event": event(), "steps": steps,
    });
    serde_json::from_value(input).unwrap()
}

fn recorded() -> Vec<Value> {
    serde_json::from_str(RECORDED).unwrap()
}

fn advance(plugin: &dyn Instance, input: &AdvanceIn) -> AdvanceOut {
    let output = plugin.call(method::JOURNEYS_ADVANCE, &encode(input).unwrap());
    decode(&output.unwrap()).unwrap()
}

#[test]
fn a_run_that_a_draft_recorded_goes_on_from_each_of_its_steps() {
    let plugin = kit::start::<Upgraded>(&Settings::default()).unwrap();
    let steps = recorded();
    assert_eq!(steps.len(), 35);
    for count in 0..=steps.len() {
        let out = advance(plugin.as_ref(), &first(&steps, count));
        assert_eq!(out.status, RunStatus::Waiting, "after {count} steps");
    }
}

#[test]
fn a_run_whose_first_steps_a_draft_recorded_ends_like_one_recorded_here() {
    let plugin = kit::start::<Upgraded>(&Settings::default()).unwrap();
    let (old, new) = (recorded(), journal(plugin.as_ref()));
    let new = new.as_array().unwrap();
    assert_eq!(old.len(), new.len());
    let mut changed = 0;
    for (old, new) in old.iter().zip(new) {
        let mut same = new.clone();
        same["print"] = old["print"].clone();
        assert_eq!(
            &same, old,
            "a step is recorded as it was, but for its fingerprint"
        );
        changed += usize::from(old["print"] != new["print"]);
    }
    // Otherwise this test would say nothing.
    assert!(changed > 5, "{changed}");
    for count in 0..old.len() {
        let mixed: Vec<Value> = old[..count].iter().chain(&new[count..]).cloned().collect();
        let out = advance(plugin.as_ref(), &first(&mixed, mixed.len()));
        assert_eq!(out.status, RunStatus::Waiting, "{count} steps of a draft");
    }
}

#[test]
fn code_that_changed_is_still_found_out() {
    let plugin = kit::start::<Upgraded>(&Settings::default()).unwrap();
    for place in 0..35 {
        let mut steps = recorded();
        steps[place]["print"] = json!("0123456789abcdef");
        let out = advance(plugin.as_ref(), &first(&steps, 35));
        let diverged = matches!(out.status, RunStatus::Diverged(_));
        // A marker of another version of the code is an answer, not a fault; the next step then differs.
        assert!(diverged, "step {place}: {:?}", out.status);
    }
}

/// A state of a step that only a later host knows.
#[test]
fn a_state_of_a_later_version_counts_as_open() {
    let plugin = kit::start::<Upgraded>(&Settings::default()).unwrap();
    for later in [json!("postponed"), json!({ "moved": { "to": 7 } })] {
        let mut steps = recorded()[..1].to_vec();
        steps[0]["state"] = later;
        let input = AdvanceIn::deserialize(&json!({
            "journey": "every-step", "run_id": "00000000-0000-0000-0000-000000000002",
            "started_at": kit::beginning(), "user": kit::user(), "event": event(),
            "steps": steps, "weather": "fine",
        }));
        let input = input.unwrap();
        assert_eq!(input.steps[0].state, StepState::Open);
        let out = advance(plugin.as_ref(), &input);
        assert_eq!((out.status, out.commands.len()), (RunStatus::Waiting, 0));
    }
}
