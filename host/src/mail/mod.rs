//! Mail out: from the decision to send to its recorded end.

mod again;
mod compose;
mod deliver;
mod fate;
mod feedback;
mod judge;
mod machine;
mod pace;
mod plain;
mod recipient;
mod status;
mod track;
mod unsubscribe;
mod untrusted;

pub use again::send_again;
pub use compose::{Composing, UNCONFIRMED, compose, misfits};
pub use deliver::{
    Claims, Delivery, Lane, ProviderState, Taking, claim, give_back, next_due, perform,
    provider_states,
};
pub use fate::useful;
pub use feedback::{SETTLE, take as take_feedback};
pub use judge::judge;
pub use machine::HEAD;
pub use pace::refusal;
pub use plain::plain;
pub use recipient::{Recipient, recipient};
pub use status::{MailEvent, Told, record, tell};
pub use track::{Tracked, track};
pub use unsubscribe::{Action, Category, Ids, TOKEN_MAX, Token, TokenError, Unsubscribe, Whom};
