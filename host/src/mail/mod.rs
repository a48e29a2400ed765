//! Mail out: from the decision to send to its recorded end.

mod backoff;
mod compose;
mod deliver;
mod render;
mod unsubscribe;

pub use compose::{Composing, TRANSACTIONAL, compose};
pub use deliver::{Delivered, deliver};
pub use unsubscribe::{Action, Token, TokenError, Unsubscribe};
