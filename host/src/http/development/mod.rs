//! Pages for developers. A production installation does not serve them.

pub mod docs;
mod guard;
mod layout;
mod lost;
pub mod outbox;
mod start;

pub mod sample;

pub use guard::{here_only, no_foreign_pages};
pub use layout::{Here, page};
pub use lost::show_lost;
pub use start::show_start;
