//! An engine wakes runs; it does not decide what they do.

mod embedded;

pub use embedded::{Embedded, advance_due};

use crate::app::App;
use crate::crew::Crew;

/// Finds runs that are due and has them advanced.
pub trait Engine {
    /// As `/v1/health` calls it.
    const KIND: &'static str;

    /// Starts what finds them, until the crew is asked to stop.
    fn start(app: &App, crew: &mut Crew);
}
