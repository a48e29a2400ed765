//! A started plugin.

use hogsend_plugin_api::journey::Catalogue;
use hogsend_plugin_api::{Capabilities, Settings};

use super::caller::Caller;
use super::perform::{Performer, Scope};
use crate::clock::Clock;

/// A started plugin with everything needed to call it.
pub(super) struct Running {
    pub caller: Caller,
    pub scope: Scope,
    pub settings: Settings,
    pub performer: Performer,
    pub clock: Clock,
    pub capabilities: Option<Capabilities>,
    pub catalogue: Catalogue,
}
