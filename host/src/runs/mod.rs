//! Runs: one person's pass through a journey, advanced step by step, and what administrators decide about those
//! that are broken.

mod advance;
pub mod decide;
mod enrich;
mod journal;
mod step;
mod wait;

pub use advance::{Advanced, advance, unrecorded};
