//! The person of a run, completed by what analytics products know.

use std::sync::LazyLock;
use std::time::Duration;

use hogsend_plugin_api::Properties;
use hogsend_semantics::own_address::keep_own;

use crate::context::Context;
use crate::db::ClaimedState;
use crate::telemetry::Outages;

/// The longest wait for one product. A product that is slower is left out; the run goes on.
const BOUND: Duration = Duration::from_secs(10);

/// The run with the properties that the contact does not have filled in. A product that does not answer,
/// fails or does not know the person changes nothing.
pub async fn complete(cx: &Context, state: &ClaimedState) -> ClaimedState {
    let mut state = state.clone();
    let Some(id) = state.person.external_id.clone() else {
        return state;
    };
    for (name, value) in known_to_analytics(cx, &id, state.person.email.as_deref()).await {
        state.person.properties.entry(name).or_insert(value);
    }
    state
}

/// Analytics products that do not tell what they know.
static SILENT: LazyLock<Outages> = LazyLock::new(Outages::default);

fn failed(plugin: &str, error: &str) {
    if let Some(failing) = SILENT.failed(plugin) {
        tracing::warn!(
            plugin,
            error,
            failures = failing.failures,
            seconds = failing.seconds,
            "person properties could not be read, runs go on with the contact's own"
        );
    }
}

fn answered(plugin: &str) {
    if let Some(recovered) = SILENT.over(plugin) {
        let seconds = recovered.seconds;
        tracing::info!(plugin, seconds, "person properties can be read again");
    }
}

/// What the analytics products know of a person with this address. Where several have a property, the
/// first product's value counts. Empty where none answers in time.
pub async fn known_to_analytics(cx: &Context, id: &str, address: Option<&str>) -> Properties {
    let mut all = Properties::new();
    for product in cx.plugins().analytics() {
        match tokio::time::timeout(BOUND, product.person(id)).await {
            Ok(Ok(Some(mut known))) => {
                answered(product.id());
                // The product may have it from events that anybody can send.
                keep_own(&mut known, cx.trust(product.id()), address);
                for (name, value) in known {
                    all.entry(name).or_insert(value);
                }
            }
            Ok(Ok(None)) => answered(product.id()),
            Ok(Err(error)) => failed(product.id(), &error.to_string()),
            Err(_) => failed(
                product.id(),
                &format!("no answer within {} s", BOUND.as_secs()),
            ),
        }
    }
    all
}
