//! The plugin as the host calls it.

mod conformance;
