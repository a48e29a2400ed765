//! Steps that ask about the contact.

use chrono_tz::Tz;
use hogsend_plugin_api::journey::{Contact, Moment, SubscribedArgs, WhenArgs};
use hogsend_plugin_api::{Properties, StepError};
use hogsend_semantics::{when, zone};
use serde_json::json;

use super::{Outcome, Performing};
use crate::contacts::consent;
use crate::db;
use crate::runs::enrich::known_to_analytics;

pub(super) async fn contact(run: Performing<'_>) -> db::Result<Outcome> {
    let found = db::contact_get(&mut *run.cx.db.conn().await?, run.state.contact_id).await?;
    let contact = found.map(|found| {
        let (first, last) = (found.first_seen_at, found.last_seen_at);
        let mut contact = Contact::new(found.id.into(), first, last);
        contact.external_id = found.external_id;
        contact.email = found.email;
        contact.properties = found.properties;
        contact
    });
    Ok(Ok(json!(contact)))
}

pub(super) async fn is_subscribed(
    run: Performing<'_>,
    args: Result<SubscribedArgs, StepError>,
) -> db::Result<Outcome> {
    let args = match args {
        Ok(args) => args,
        Err(error) => return Ok(Err(error)),
    };
    let category = args
        .category
        .as_deref()
        .unwrap_or(&run.entry.definition.category);
    let contact = run.state.contact_id;
    let mut conn = run.cx.db.conn().await?;
    let wants = match db::contact_get(&mut conn, contact).await? {
        Some(contact) => consent::preferences(run.cx, &mut conn, &contact).await?,
        None => Default::default(),
    };
    Ok(Ok(json!(wants.allow(category))))
}

pub(super) async fn person(run: Performing<'_>) -> db::Result<Outcome> {
    let found = db::contact_get(&mut *run.cx.db.conn().await?, run.state.contact_id).await?;
    let (mut properties, address) = found
        .map(|contact| (contact.properties, contact.email))
        .unwrap_or_default();
    if let Some(id) = run.state.person.external_id.as_deref() {
        properties.extend(known_to_analytics(run.cx, id, address.as_deref()).await);
    }
    Ok(Ok(json!(properties)))
}

pub(super) async fn when(
    run: Performing<'_>,
    args: Result<WhenArgs, StepError>,
) -> db::Result<Outcome> {
    let args = match args {
        Ok(args) => args,
        Err(error) => return Ok(Err(error)),
    };
    let found = db::contact_get(&mut *run.cx.db.conn().await?, run.state.contact_id).await?;
    let own = found.map(|contact| contact.properties).unwrap_or_default();
    let zone = zone_of(run, &own);
    let moment = when::resolve(&args, run.now, zone).map(|at| Moment::new(at, zone.name()));
    Ok(moment.map(|moment| json!(moment)))
}

/// The person's time zone: what analytics knew when the run began takes precedence over the contact's
/// properties now.
fn zone_of(run: Performing<'_>, contact: &Properties) -> Tz {
    zone::of(
        &run.state.person.properties,
        contact,
        run.cx.config.policy.zone,
    )
}
