//! The stock templates, rendered as the host renders them.

mod branches;
mod rendered;
mod rules;
mod snapshots;
