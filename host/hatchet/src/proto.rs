//! The messages of the protocol, made from `protos/` (see `tests/generated.rs`).

include!("generated/_.rs");

pub mod v1 {
    include!("generated/v1.rs");
}
