//! Mail out: from the decision to send to its recorded end.

mod compose;
mod deliver;
mod pace;
mod render;
mod unsubscribe;

pub use compose::{Composing, TRANSACTIONAL, compose};
pub use deliver::{Delivered, deliver};
pub use unsubscribe::{Action, Token, TokenError, Unsubscribe};
