//! An engine wakes runs; it does not decide what they do.

mod embedded;

pub use embedded::{Embedded, advance_due};

use crate::app::App;
use crate::crew::Crew;

/// Finds due runs and has them advanced.
pub trait Engine {
    /// Its name in `/v1/health`.
    const KIND: &'static str;

    /// Starts the engine's tasks, which run until the crew is asked to stop.
    fn start(app: &App, crew: &mut Crew);
}
