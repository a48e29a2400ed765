//! The stock journeys, from entry to end.

use hogsend_plugin_api::call::method;
use hogsend_plugin_api::export::Instance;
use hogsend_plugin_api::journey::{
    Catalogue, Entry, HasEventArgs, Occurrences, RunStatus, Sent, TriggerEvent, days, hours,
};
use hogsend_plugin_api::kit::{self, Run};
use hogsend_plugin_api::{Properties, Settings, StepError};
use hogsend_plugin_lifecycle::Lifecycle;
use serde_json::{Value, json};

const HOUR_MS: u64 = 3_600_000;

fn plugin() -> Box<dyn Instance> {
    kit::start::<Lifecycle>(&Settings::default()).unwrap()
}

fn catalogue() -> Catalogue {
    kit::ask(plugin().as_ref(), method::JOURNEYS_CATALOGUE, &()).unwrap()
}

fn begin<'a>(plugin: &'a dyn Instance, journey: &str, event: &str, properties: Value) -> Run<'a> {
    let properties: Properties = serde_json::from_value(properties).unwrap();
    let event = TriggerEvent {
        name: event.into(),
        properties,
    };
    Run::begin(plugin, journey, kit::user(), event)
}

fn welcome(plugin: &dyn Instance) -> Run<'_> {
    begin(plugin, "activation-welcome", "user.created", json!({}))
}

fn sent() -> Result<Value, StepError> {
    Ok(json!(Sent::Sent {
        id: Default::default()
    }))
}

fn skipped() -> Result<Value, StepError> {
    Ok(json!(Sent::Skipped {
        reason: "user_unsubscribed".into()
    }))
}

fn occurred(count: u64) -> Result<Value, StepError> {
    Ok(json!(Occurrences {
        found: count > 0,
        count,
        last_at: None
    }))
}

/// Kind and inputs of the one step the run waits on.
fn waits_on(run: &Run<'_>) -> (String, Value) {
    match run.open()[..] {
        [command] => (command.kind.clone(), command.args.clone()),
        ref other => panic!("{other:?} ({:?})", run.status()),
    }
}

#[test]
fn whoever_did_nothing_for_two_days_is_nudged_once() {
    let plugin = plugin();
    let mut run = welcome(plugin.as_ref());
    assert_eq!(
        waits_on(&run),
        ("send".into(), json!({ "template": "welcome" }))
    );
    run.answer("send", sent());
    assert_eq!(
        waits_on(&run),
        ("sleep".into(), json!({ "ms": 48 * HOUR_MS }))
    );
    assert_eq!(run.open()[0].label.as_deref(), Some("settle-in"));
    run.pass(days(2) - hours(1));
    assert_eq!(run.open()[0].kind, "sleep");
    run.pass(hours(1));
    assert_eq!(
        waits_on(&run),
        (
            "history.has_event".into(),
            json!({ "event": "feature.used", "within_ms": 49 * HOUR_MS })
        )
    );
    run.answer("history.has_event", occurred(0));
    assert_eq!(
        waits_on(&run),
        ("send".into(), json!({ "template": "activation-nudge" }))
    );
    run.answer("send", sent());
    assert_eq!(run.status(), &RunStatus::Completed);
    assert!(run.checkpoints().is_empty());
}

#[test]
fn whoever_used_the_product_is_left_alone() {
    let plugin = plugin();
    let mut run = welcome(plugin.as_ref());
    run.answer("send", sent())
        .pass(days(2))
        .answer("history.has_event", occurred(3));
    assert_eq!(run.status(), &RunStatus::Completed);
    assert_eq!(run.checkpoints(), ["already-active"]);
    assert_eq!(
        run.journal()
            .iter()
            .filter(|step| step.kind == "send")
            .count(),
        1
    );
}

#[test]
fn use_counts_from_entry_also_where_the_welcome_went_out_days_later() {
    let plugin = plugin();
    let mut run = welcome(plugin.as_ref());
    run.pass(days(3)).answer("send", sent()).pass(days(2));
    let (_, args) = waits_on(&run);
    let args: HasEventArgs = serde_json::from_value(args).unwrap();
    assert_eq!(args.within_ms, Some((5 * 24 + 1) * HOUR_MS));
}

#[test]
fn a_mail_that_is_skipped_or_refused_ends_nothing() {
    let plugin = plugin();
    let refused = Ok(json!(Sent::Failed {
        id: Default::default(),
        reason: "no such box".into()
    }));
    for fate in [skipped(), refused] {
        let mut run = welcome(plugin.as_ref());
        run.answer("send", fate.clone()).pass(days(2));
        run.answer("history.has_event", occurred(0))
            .answer("send", fate);
        assert_eq!(run.status(), &RunStatus::Completed);
    }
}

#[test]
fn a_template_that_does_not_render_fails_the_run_at_its_line() {
    let plugin = plugin();
    let mut run = welcome(plugin.as_ref());
    run.answer(
        "send",
        Err(StepError::new("template_failed", "line 3 is broken")),
    );
    match run.status() {
        RunStatus::Failed { message, location } => {
            assert!(message.contains("line 3 is broken"), "{message}");
            assert!(
                location.as_ref().unwrap().contains("activation_welcome.rs"),
                "{location:?}"
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_deployment_test_runs_its_chain_and_sends_nothing() {
    let plugin = plugin();
    for (properties, plan, path) in [
        (json!({ "plan": "pro" }), "pro", "pro-path"),
        (json!({ "plan": "free" }), "free", "free-path"),
        (json!({ "plan": "enterprise" }), "enterprise", "free-path"),
        (json!({ "plan": 7 }), "free", "free-path"),
        (json!({}), "free", "free-path"),
    ] {
        let mut run = begin(
            plugin.as_ref(),
            "test-onboarding",
            "test.signup",
            properties,
        );
        assert_eq!(
            waits_on(&run),
            (
                "trigger".into(),
                json!({ "event": "journey.welcome_fired", "properties": { "plan": plan } })
            )
        );
        run.answer("trigger", Ok(Value::Null));
        assert_eq!(run.status(), &RunStatus::Completed);
        assert_eq!(run.checkpoints(), [path]);
        assert!(run.journal().iter().all(|step| step.kind != "send"));
    }
}

#[test]
fn the_catalogue_is_what_the_handbook_says() {
    let catalogue = catalogue();
    let found: Vec<_> = catalogue
        .journeys
        .iter()
        .map(|journey| {
            let exits: Vec<_> = journey
                .exit_on
                .iter()
                .map(|exit| exit.event.as_str())
                .collect();
            (
                journey.id.as_str(),
                journey.trigger.event.as_str(),
                journey.entry,
                exits,
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            (
                "activation-welcome",
                "user.created",
                Entry::Once,
                vec!["user.deleted"]
            ),
            ("test-onboarding", "test.signup", Entry::Unlimited, vec![]),
        ]
    );
    for journey in &catalogue.journeys {
        assert!(
            journey.enabled && journey.category == "journey",
            "{}",
            journey.id
        );
        assert!(journey.description.is_some(), "{}", journey.id);
        assert!(
            journey.location.contains("src/journeys/"),
            "{}",
            journey.location
        );
    }
    let templates: Vec<_> = catalogue
        .templates
        .iter()
        .map(|template| template.key.as_str())
        .collect();
    assert_eq!(templates, ["welcome", "activation-nudge"]);
}
