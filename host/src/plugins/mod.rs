//! The plugin boundary: finds plugins, calls them under a deadline, and performs the commands they
//! ask for.
//!
//! Code outside this module cannot tell a loaded plugin from a linked one, nor from one in a child process.

#[doc(hidden)]
pub mod bench;
mod bounded;
mod caller;
mod conversation;
mod copies;
mod described;
mod discover;
mod documents;
mod features;
mod files;
pub mod flight;
mod http;
mod isolate;
mod libraries;
mod lint;
mod loader;
pub mod lock;
mod owners;
mod perform;
mod preflight;
mod problem;
mod refs;
mod registry;
mod running;
mod search;

pub use caller::{ErrorKind, PluginError};
pub use copies::sweep;
pub use discover::{Discovered, Origin, PluginInfo};
pub use features::without_effect;
pub use isolate::{Isolation, Task, host_plugin};
pub use libraries::Libraries;
pub use loader::ExitGuard;
pub use owners::fault as owner_fault;
pub use perform::Performer;
#[doc(hidden)]
pub use preflight::library_header;
pub use problem::Problem;
pub use refs::{AnalyticsRef, DeliveryRef, EventSourceRef, JourneysRef, PluginRef};
pub use registry::{Registry, Start};
pub use search::Search;
