//! Who a request comes from, once the gate knows.

use super::{Actor, Scope};

/// A caller a gate let in.
#[derive(Clone)]
pub struct Known {
    pub actor: Actor,
    pub scopes: Vec<Scope>,
}
