//! The person a run is about, completed by what analytics products know.

use std::time::Duration;

use hogsend_plugin_api::Properties;
use hogsend_semantics::own_address::keep_own;

use crate::context::Context;
use crate::db::ClaimedState;

/// Bound of asking one product. It never keeps anyone out of a journey.
const BOUND: Duration = Duration::from_secs(10);

/// The run with properties the contact itself does not have filled in. A product that is silent,
/// fails or knows nothing changes nothing.
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

/// What the analytics products know of a person with this address, the first one's word first. Empty
/// where none answers in time.
pub async fn known_to_analytics(cx: &Context, id: &str, address: Option<&str>) -> Properties {
    let mut all = Properties::new();
    for product in cx.plugins.analytics() {
        match tokio::time::timeout(BOUND, product.person(id)).await {
            Ok(Ok(Some(mut known))) => {
                // It has it from events that anybody may have sent.
                keep_own(&mut known, cx.trust(product.id()), address);
                for (name, value) in known {
                    all.entry(name).or_insert(value);
                }
            }
            Ok(Ok(None)) => {}
            Ok(Err(error)) => tracing::warn!(plugin = product.id(), %error,
                "person properties could not be read, going on with the contact's own"),
            Err(_) => tracing::warn!(
                plugin = product.id(),
                bound_s = BOUND.as_secs(),
                "person properties came too late, going on with the contact's own"
            ),
        }
    }
    all
}
