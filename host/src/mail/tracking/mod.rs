//! Tracked links and images: writing them into a mail, recording who fetches them, and judging whether it
//! was a person or a machine.

mod judge;
mod links;
mod machine;
mod visit;

pub use judge::judge;
pub use links::{Tracked, track, track_anew};
pub use visit::{Fetch, click, open};
