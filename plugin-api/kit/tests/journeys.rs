//! The conformance test passes correct journeys and names the promise that faulty ones break.

#![forbid(unsafe_code)]

mod report;

use std::sync::atomic::{AtomicU32, Ordering};

use hogsend_plugin_api::journey::{self, Category, Condition, Ctx, Journey, Prop, User, days};
use hogsend_plugin_api::{Journeys, Manifest, Plugin, Setting, Settings, Template, export_plugin};
use hogsend_plugin_kit::journeys::{PROMISES, Scene, conformance};
use serde_json::json;

static INSTANCES: AtomicU32 = AtomicU32::new(0);

/// A plugin with the fault that its settings name, or none.
struct Dunning {
    fault: String,
    number: u32,
}

impl Plugin for Dunning {
    fn manifest() -> Manifest {
        Manifest::new("dunning", "1.0.0").setting(Setting::new("DUNNING_FAULT", "what to do wrong"))
    }

    fn new(settings: &Settings) -> Result<Self, String> {
        Ok(Self {
            fault: settings.get("DUNNING_FAULT").unwrap_or_default().to_owned(),
            number: INSTANCES.fetch_add(1, Ordering::Relaxed),
        })
    }
}

impl Journeys for Dunning {
    fn journeys(&self) -> Vec<Journey> {
        let fault = self.fault.clone();
        let journey = Journey::new("dunning", move |user, ctx| dun(user, ctx, fault.clone()));
        let amount = Condition::exists("amount");
        let mut all = vec![match self.fault.as_str() {
            "has no trigger" => journey,
            "waits for another event" => journey
                .trigger("payment.failed")
                .trigger_where(Condition::exists("never")),
            _ => journey.trigger("payment.failed").trigger_where(amount),
        }];
        if self.fault == "grows" {
            let name = format!("dunning-{}", self.number);
            all.push(Journey::new(&name, |_, _| async { Ok(()) }).trigger("x"));
        }
        all
    }

    fn templates(&self) -> Vec<Template> {
        let whole = "<html><body><p>Pay {{ props.amount }}</p></body></html>";
        let body = match self.fault.as_str() {
            "forgets a brace" => "<p>Pay {{ props.amount </p>",
            "misspells an element" => "<mj-txt>Pay {{ props.amount }}</mj-txt>",
            "counts on what may be missing" => "<p>Pay {{ props.amount + props.fee }}</p>",
            "has no way out" => whole,
            _ => "<p>Pay {{ props.amount }}</p>",
        };
        let amount = match self.fault.as_str() {
            "has no sample" => Prop::number("amount").required(),
            _ => Prop::number("amount").required().sample(12),
        };
        let template = Template::new("reminder", "Your payment", body)
            .props(vec![amount, Prop::number("fee").sample(1)]);
        match self.fault.as_str() {
            "has a key twice" => vec![template.clone(), template],
            _ => vec![template],
        }
    }

    fn categories(&self) -> Vec<Category> {
        match self.fault.as_str() {
            "lets people refuse receipts" => vec![Category::new("transactional", "Receipts", "")],
            _ => vec![Category::new("journey", "Reminders", "About payments.")],
        }
    }
}

async fn dun(_: User, ctx: Ctx, fault: String) -> journey::Result {
    ctx.sleep(days(1)).await;
    if fault == "fails in the end" {
        return Err(journey::Error::new("it does not go on"));
    }
    let send = ctx.send("reminder");
    let sent = match fault.as_str() {
        "forgets a prop" => send.await?,
        _ => send.prop("amount", 12).await?,
    };
    assert!(
        sent.is_sent() || fault != "insists on being read",
        "nobody reads it"
    );
    Ok(())
}

export_plugin!(Dunning: journeys);

fn check(fault: &str) {
    conformance::<Dunning>(&Scene {
        settings: Settings::from([("DUNNING_FAULT", fault)]),
        events: vec![("dunning", json!({ "amount": 12 }))],
        ..Scene::default()
    });
}

#[test]
fn sound_journeys_pass() {
    check("");
}

#[test]
fn every_broken_promise_is_named() {
    let faults = [
        ("grows", "catalogue", "the same catalogue"),
        ("has no trigger", "journey-ids", "has a trigger"),
        (
            "has a key twice",
            "template-keys",
            "'reminder' is there twice",
        ),
        ("lets people refuse receipts", "categories", "is not listed"),
        (
            "forgets a brace",
            "syntax",
            "template 'reminder' does not render",
        ),
        ("has no sample", "samples", "the required prop 'amount'"),
        ("misspells an element", "renders", "no element <mj-txt>"),
        (
            "counts on what may be missing",
            "renders-bare",
            "template 'reminder'",
        ),
        ("has no way out", "unsubscribe-link", "link to unsubscribe"),
        (
            "waits for another event",
            "runs",
            "give them in `Scene::events`",
        ),
        ("fails in the end", "runs", "it does not go on"),
        ("insists on being read", "refused-mails", "nobody reads it"),
        ("forgets a prop", "sends", "'amount' is required"),
    ];
    report::every_promise_is_checked(&[&PROMISES], &faults, check);
}
