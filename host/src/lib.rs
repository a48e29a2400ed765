//! Hogsend: product events in, durable journeys, mail out.
//!
//! The entry points [`http`], [`worker`] and [`cli`] call the modules, which depend on each other in one
//! direction: [`contacts`] ← [`enrolment`] ← [`ingest`] ← [`mail`] ← [`runs`]. Modules access the
//! database through [`db`] and plugins through [`plugins`].

mod accounts;
mod alerts;
pub mod app;
pub mod audit;
pub mod backfill;
mod backoff;
pub mod cache;
pub mod calls;
pub mod catalog;
pub mod cli;
pub mod clock;
pub mod config;
pub mod contacts;
pub mod context;
pub mod crew;
pub mod db;
mod dead_letters;
mod durations;
pub mod enrolment;
mod event_names;
pub mod foreign;
#[doc(hidden)]
pub mod fuzz;
pub mod http;
pub mod http_client;
pub mod ids;
pub mod ingest;
pub mod installed;
mod keys;
mod limits;
mod linked_plugins;
pub mod loops;
pub mod mail;
pub mod mailbox;
mod memory;
mod nearest;
mod pauses;
pub mod plugins;
mod private;
pub mod purpose;
mod refusals;
pub mod restore;
mod rounds;
mod run_ended;
pub mod runs;
pub mod signed_link;
pub mod states;
pub mod telemetry;
pub mod templates;
mod webhooks;
pub mod worker;

/// The whole `main.rs` of a binary with Hogsend and these plugin crates: the `hogsend` command, with the
/// plugins linked.
///
/// ```ignore
/// hogsend::main!(hogsend_plugin_acme, my_journeys);
/// ```
///
/// It defines `main` and the global allocator. Each name is a crate with an
/// [`export_plugin!`](hogsend_plugin_api::export_plugin); naming it here keeps the linker from dropping
/// the crate. Two plugins of the binary must not have the same id. To do something before, write `main`
/// yourself and call [`cli::main`](crate::cli::main) after `hogsend_link()` of each crate.
#[macro_export]
macro_rules! main {
    ($($plugin:ident),* $(,)?) => {
        /// Libraries have their own allocators: memory is always freed on the side that allocated it.
        #[global_allocator]
        static ALLOCATOR: $crate::__private::MiMalloc = $crate::__private::MiMalloc;

        fn main() -> ::std::process::ExitCode {
            $($plugin::hogsend_link();)*
            $crate::cli::main()
        }
    };
}

/// For [`main!`].
#[doc(hidden)]
pub mod __private {
    pub use mimalloc::MiMalloc;
}
