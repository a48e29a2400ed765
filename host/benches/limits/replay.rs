//! Replaying a journal, against reading the same JSON and doing nothing with it.

use hogsend_plugin_api::call::method;
use hogsend_plugin_api::export::{Instance, create};
use hogsend_plugin_api::journey::{
    self, AdvanceIn, AdvanceOut, Ctx, Journey, RunStatus, TriggerEvent, User, hours,
};
use hogsend_plugin_api::{
    Journeys, Manifest, Plugin, Settings, Step, StepState, Template, export_plugin,
};
use serde_json::Value;

use crate::{median, microseconds};

struct Long;

impl Plugin for Long {
    fn manifest() -> Manifest {
        Manifest::new("bench-replay", "0.0.1")
    }

    fn new(_: &Settings) -> Result<Self, String> {
        Ok(Self)
    }
}

impl Journeys for Long {
    fn journeys(&self) -> Vec<Journey> {
        vec![
            Journey::new("long", long).trigger("bench.never"),
            crate::engine::journey(),
        ]
    }

    fn templates(&self) -> Vec<Template> {
        Vec::new()
    }
}

export_plugin!(Long: journeys);

async fn long(_: User, ctx: Ctx) -> journey::Result {
    loop {
        ctx.sleep(hours(1)).await;
        ctx.trigger("tick").prop("plan", "pro").await?;
    }
}

pub fn bench() {
    let plugin = create::<Long>(&Settings::default()).expect("the plugin");
    for steps in [10, 100, 1_000] {
        let input = journal(plugin.as_ref(), steps);
        let whole = median(|| {
            plugin
                .call(method::JOURNEYS_ADVANCE, &input)
                .expect("an answer");
        });
        let parse = median(|| {
            serde_json::from_slice::<Value>(&input).expect("JSON");
        });
        println!(
            "replay: {steps} steps ({} KB): {:.1} µs, reading the JSON alone {:.1} µs, ratio {:.2}",
            input.len() / 1_024,
            microseconds(whole),
            microseconds(parse),
            whole.as_secs_f64() / parse.as_secs_f64()
        );
    }
}

/// A journal with this many ended steps.
fn journal(plugin: &dyn Instance, steps: usize) -> Vec<u8> {
    let (id, at) = (uuid::Uuid::nil(), chrono::DateTime::UNIX_EPOCH);
    let user = User::new(id, Some("u".into()), None);
    let event = TriggerEvent::new("bench.never", Default::default());
    let mut run = AdvanceIn::new("long", id, at, user, event);
    while run.steps.len() < steps {
        let input = serde_json::to_vec(&run).expect("JSON");
        let output = plugin
            .call(method::JOURNEYS_ADVANCE, &input)
            .expect("an answer");
        let out: AdvanceOut = serde_json::from_slice(&output).expect("JSON");
        assert_eq!(out.status, RunStatus::Waiting);
        for command in &out.commands {
            let done = StepState::done(run.steps.len() as u32 + 1, at, Ok(Value::Null));
            run.steps.push(Step::issued(command).with_state(done));
        }
    }
    serde_json::to_vec(&run).expect("JSON")
}
