//! The one gate for what comes from outside: request bodies, webhooks, plugins' answers, files of
//! contacts, texts of providers.
//!
//! Behind it everything can be stored. Text holds no NUL (Postgres keeps none; lone surrogates are
//! gone once JSON is read through [`hogsend_plugin_api::json`]), instants are ones a database and a
//! chart know, and sizes, counts and depth are bounded. What callers of the API send too much of is
//! refused with its path ([`check`]); of what vendors and plugins send, only what does not fit is
//! dropped, by name ([`fit`]).

mod answer;
mod bounds;
mod issue;
mod json;
mod text;
mod time;

pub use answer::Foreign;
pub use bounds::*;
pub use issue::Issue;
pub use json::{Unfit, check, clean, clean_properties, fit, merge, size};
pub use text::{cleaned, key, text};
pub use time::{arrived, is_storable};
