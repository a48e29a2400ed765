//! Runs that an event ends.

use serde::Serialize;

use crate::ids::StateId;

/// An open run of the person whose journey has exit conditions, and whether this event met one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Exit {
    pub journey_id: String,
    pub state_id: StateId,
    pub exited: bool,
}
