//! Sanitising everything that comes from outside: request bodies, webhooks, plugins' answers, contact
//! files, providers' messages.
//!
//! The result can be stored. Text contains no NUL, which Postgres cannot store (lone surrogates are
//! removed when JSON is read through [`hogsend_plugin_api::json`]). Instants are in a range that
//! databases and charts support. Sizes, counts and depth are limited: what an API caller sends beyond
//! a limit is refused with its path ([`check`]); of what vendors and plugins send, only the parts that
//! do not fit are dropped, by name ([`fit`]).

mod answer;
mod bounds;
mod issue;
mod json;
mod text;
mod time;

pub use answer::Foreign;
pub use bounds::*;
pub use issue::{Issue, one_of, some_of};
pub use json::{Unfit, check, clean, clean_properties, fit, merge, size};
pub use text::{cleaned, key, text};
pub use time::{arrived, is_storable};
