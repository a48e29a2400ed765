//! A started plugin.

use std::sync::Arc;

use hogsend_plugin_api::described::Described;
use hogsend_plugin_api::journey::Catalogue;
use hogsend_plugin_api::{Capabilities, Settings};

use super::caller::Caller;
use super::copies::LibraryCopy;
use super::perform::{Performer, Scope};
use crate::clock::Clock;

/// The code of a started plugin, by which it is recognized after a reload.
#[derive(Clone)]
pub(super) enum Code {
    Linked,
    Described(Arc<Described>),
    /// What a reload knows it by.
    Loaded(String),
}

impl PartialEq for Code {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Linked, Self::Linked) => true,
            (Self::Described(one), Self::Described(other)) => Arc::ptr_eq(one, other),
            (Self::Loaded(one), Self::Loaded(other)) => one == other,
            _ => false,
        }
    }
}

/// A started plugin with everything needed to call it.
pub(super) struct Running {
    pub caller: Caller,
    pub code: Code,
    /// Keeps the copy of the library while it may be called.
    pub _copy: Option<LibraryCopy>,
    pub scope: Scope,
    pub settings: Settings,
    pub performer: Performer,
    pub clock: Clock,
    pub capabilities: Option<Capabilities>,
    pub catalogue: Catalogue,
}
