//! Outgoing webhooks: signed requests to the URLs administrators configure.
//!
//! A delivery is written in the transaction of its event, so neither exists without the other; a
//! worker posts it until it is accepted or given up.

mod announce;
mod deliver;
pub mod endpoints;
mod guard;
mod post;
mod sign;

pub use announce::{EVENT_TYPES, News, TEST_TYPE, announce, announce_deleted, timestamp};
pub use deliver::{deliver, wait_after};
pub use endpoints::KINDS;
pub use post::{Poster, check_url, lease};
pub use sign::{new_secret, secret_prefix, signed_headers};
