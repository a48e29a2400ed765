//! The messages of the protocol, made from `protos/` by hogsend-hatchet-protos.

include!("generated/_.rs");

pub mod v1 {
    include!("generated/v1.rs");
}
