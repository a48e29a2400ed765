//! Tracked links and images: writing them into a mail, and judging whether a person or a machine followed them.

mod judge;
mod links;
mod machine;

pub use judge::judge;
pub use links::{Tracked, track, track_anew};
pub use machine::HEAD;
