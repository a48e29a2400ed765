//! Outgoing mail: the decision to send, delivery, and what providers and recipients report afterwards.

mod again;
mod cancel;
mod compose;
mod deliver;
mod fate;
mod feedback;
mod frequency;
mod plain;
mod recipient;
mod request;
mod status;
pub mod tracking;
mod untrusted;
mod waiting;

pub use again::{resend, send_again};
pub use cancel::{Cancelled, cancel};
pub use compose::{Composing, UNCONFIRMED, compose, misfits};
pub use deliver::{
    Claims, Delivery, Lane, ProviderState, Route, Taking, claim, first_choices, give_back,
    next_due, perform, provider_states, requests_due, routes,
};
pub use fate::useful;
pub use feedback::take as take_feedback;
pub use plain::plain;
pub use recipient::{Recipient, recipient};
pub use request::{Queued, Requested, request, request_test};
pub use status::{MailEvent, record};
pub use waiting::{Plan, plan};
