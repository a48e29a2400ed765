//! The caller of a request, as the gate identified them.

use super::{Actor, Scope};

/// A caller that passed a gate.
#[derive(Clone)]
pub struct Known {
    pub actor: Actor,
    pub scopes: Vec<Scope>,
}
