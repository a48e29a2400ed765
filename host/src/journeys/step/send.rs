//! Deciding on a mail.

use chrono::TimeDelta;
use hogsend_plugin_api::journey::SendArgs;
use hogsend_plugin_api::{Properties, Trust};
use serde_json::json;

use super::{Effects, Performed, Performing};
use crate::db::{self, StepRow};
use crate::mail::{self, Composing};

pub(super) async fn send(
    run: Performing<'_>,
    row: &StepRow,
    args: SendArgs,
    effects: &mut Effects,
) -> db::Result<Performed> {
    let Performing { app, state, .. } = run;
    let contact = db::contact_get(&mut *app.db.conn().await?, state.contact_id).await?;
    let Some(mut contact) = contact else {
        return Ok(Performed::Done(Ok(
            json!({ "skipped": { "reason": "contact_deleted" } }),
        )));
    };
    // What the run itself set just now is not stored yet.
    contact.properties.extend(effects.identify.clone());
    let strange = strange(run, run.state.trust).await?;
    let composing = Composing {
        contact: &contact,
        args: &args,
        event: &state.context,
        category: &run.entry.definition.category,
        origin: Some((state.id, row.step.seq)),
        labels: &[("journey", &state.journey_id)],
        strange: &strange,
        test: false,
    };
    match mail::compose(app, composing, run.now).await {
        Err(error) => Ok(Performed::Done(Err(error))),
        Ok(send) => {
            let done = send
                .mail
                .as_ref()
                .err()
                .map(|reason| Performed::Done(Ok(json!({ "skipped": { "reason": reason } }))));
            effects.sends.push(send);
            Ok(done.unwrap_or(Performed::Open))
        }
    }
}

/// Properties of the events that began an untrusted run and that it may have gathered since, as a
/// digest does.
async fn strange(run: Performing<'_>, trust: Trust) -> db::Result<Vec<Properties>> {
    const GATHERED: i64 = 1_000;
    if trust.is_trusted() {
        return Ok(Vec::new());
    }
    let state = run.state;
    let since = state.created_at - TimeDelta::days(1);
    let mut conn = run.app.db.conn().await?;
    let name = &state.trigger_event;
    let past = db::history_events(&mut conn, state.contact_id, name, Some(since), GATHERED).await?;
    let gathered = past.into_iter().map(|event| event.properties);
    Ok(gathered.chain([state.context.clone()]).collect())
}
