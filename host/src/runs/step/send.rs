//! The `send` step: decides on a mail and leaves its delivery to the mailer.

use hogsend_plugin_api::Properties;
use hogsend_plugin_api::journey::{SendArgs, Sent};
use serde_json::json;

use super::{Effects, Performed, Performing};
use crate::db::{self, ClaimedState, StepRow};
use crate::mail::{self, Composing};
use crate::runs::journal::Journal;

pub(super) async fn send(
    run: Performing<'_>,
    journal: &Journal,
    row: &StepRow,
    args: SendArgs,
    effects: &mut Effects,
) -> db::Result<Performed> {
    let Performing { cx, state, .. } = run;
    let contact = db::contact_get(&mut *cx.db.conn().await?, state.contact_id).await?;
    let Some(mut contact) = contact else {
        return Ok(skipped("contact_deleted"));
    };
    // Properties that the run set in this advance are not stored yet.
    contact.properties.extend(effects.identify.clone());
    let strange = strange(state, journal);
    let composing = Composing {
        contact: &contact,
        args: &args,
        event: &state.context,
        category: &run.entry.definition.category,
        not_after_ms: run.entry.definition.not_after_ms,
        origin: Some((state.id, row.step.seq)),
        labels: &[("journey", &state.journey_id)],
        strange: &strange,
        test: false,
    };
    match mail::compose(cx, composing, run.now).await {
        Err(error) => Ok(Performed::Done(Err(error))),
        Ok(send) => {
            let skip = send.mail.as_ref().err().copied();
            effects.sends.push(send);
            Ok(skip.map_or(Performed::Open, skipped))
        }
    }
}

/// The step is over: no mail goes out, for this reason.
fn skipped(reason: &str) -> Performed {
    let reason = reason.to_owned();
    Performed::Done(Ok(json!(Sent::skipped(reason))))
}

/// Properties of the untrusted events the run knows: the one that started it, and those it has read
/// since.
fn strange(state: &ClaimedState, journal: &Journal) -> Vec<Properties> {
    let began = (!state.trust.is_trusted()).then_some(&state.context);
    began
        .into_iter()
        .chain(journal.strangers())
        .cloned()
        .collect()
}
