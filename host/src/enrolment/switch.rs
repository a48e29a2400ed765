//! Switching a journey on and off.

use serde_json::json;

use crate::audit::{Actor, Change, Refused, audit};
use crate::catalog::JourneyEntry;
use crate::context::Context;
use crate::db::{self, Tx};

/// Switches a journey on or off. While off it enrols nobody; open runs continue.
///
/// # Errors
/// A conflict where the settings or the journey's own code switch it off.
pub async fn switch(
    cx: &Context,
    actor: &Actor,
    entry: &JourneyEntry,
    enabled: bool,
) -> Result<(), Refused> {
    if enabled && !entry.selected {
        return Err(Refused::Conflict(
            "ENABLED_JOURNEYS does not list this journey: add it there",
        ));
    }
    if enabled && !entry.definition.enabled {
        return Err(Refused::Conflict("The journey's code switches it off"));
    }
    let now = cx.clock.now();
    let id = entry.definition.id.as_str();
    let work = async |mut tx: Tx| {
        let was = !db::journeys_disabled(&mut tx).await?.contains(id);
        if was != enabled {
            db::journey_set_enabled(&mut tx, id, enabled, now).await?;
            let change = Change::changed(json!({ "enabled": was }), json!({ "enabled": enabled }));
            audit(
                &mut tx,
                actor,
                "journey.update",
                ("journey", id),
                change,
                now,
            )
            .await?;
        }
        db::Result::Ok((tx, ()))
    };
    Ok(cx.db.transact(work).await?)
}
