//! Enrolling contacts in a journey by hand, without an event.

use hogsend_plugin_api::{Properties, Trust};
use serde_json::json;

use super::people::{NOT_STORED, put_all};
use crate::audit::{Actor, Change, Refused, audit};
use crate::catalog::JourneyEntry;
use crate::context::Context;
use crate::db::{NewIdentity, Tx};
use crate::enrolment::{Entrant, enrol_each};
use crate::ids::StateId;

/// Contacts enrolled per transaction, so that locks on them are held only briefly.
const TOGETHER: usize = 50;

/// The run that began, or why the enrolment was refused.
pub type Enrolled = Result<StateId, &'static str>;

/// Enrols people in this journey only, each with the properties the trigger event would have. Unknown
/// people become contacts. Returns a result for each, in their order.
///
/// # Errors
/// Those before the failed transaction are enrolled.
pub async fn enrol(
    cx: &Context,
    actor: &Actor,
    entry: &JourneyEntry,
    people: &[(NewIdentity, Properties)],
) -> Result<Vec<Enrolled>, Refused> {
    let mut results = Vec::with_capacity(people.len());
    for people in people.chunks(TOGETHER) {
        let work = |tx| enrol_in(cx, tx, actor, entry, people);
        results.extend(cx.db.transact(work).await?);
    }
    Ok(results)
}

async fn enrol_in(
    cx: &Context,
    mut tx: Tx,
    actor: &Actor,
    entry: &JourneyEntry,
    people: &[(NewIdentity, Properties)],
) -> Result<(Tx, Vec<Enrolled>), Refused> {
    let now = cx.clock.now();
    let names = people.iter();
    let names = names.map(|(identity, _)| (identity.clone(), Properties::new()));
    let put = put_all(&mut tx, &cx.catalog(), names.collect(), now).await?;
    let put = put.ok_or(NOT_STORED)?;
    let entrants: Vec<Entrant<'_>> = put
        .iter()
        .zip(people)
        .map(|(put, (_, properties))| Entrant {
            entry,
            contact: &put.contact,
            properties,
            trust: Trust::Trusted,
        })
        .collect();
    let results = enrol_each(&mut tx, &cx.catalog(), now, &entrants).await?;
    let journey = ("journey", entry.definition.id.as_str());
    for (put, result) in put.iter().zip(&results) {
        let Ok(state) = result else {
            // A guard refused somebody who was not a contact before.
            if put.created {
                let about = ("contact", &*put.contact.id.to_string());
                let change = Change::created(json!({ "externalId": put.contact.external_id }));
                audit(&mut tx, actor, "contact.create", about, change, now).await?;
            }
            continue;
        };
        let change = Change::created(json!({ "stateId": state, "contactId": put.contact.id }));
        audit(&mut tx, actor, "journey.enroll", journey, change, now).await?;
    }
    Ok((tx, results))
}
