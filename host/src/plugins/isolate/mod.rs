//! Plugins in child processes.
//!
//! A child runs one plugin: a library, which this same program opens (`hogsend plugin-host`), or a program
//! in any language. Host and child exchange JSON-RPC messages, as `docs/plugin-protocol.md` describes. A
//! plugin that crashes, hangs or takes too much memory ends its child, and the call under way fails; the
//! next call starts the child again.

mod child;
#[cfg(test)]
mod documented;
pub(super) mod file;
mod frame;
mod guest;
pub(super) mod launch;
pub(super) mod methods;
mod process;

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

pub(super) use file::{Place, Plan};
pub(super) use launch::{Launch, What};
pub(super) use process::{Isolated, Unanswered};

/// Where plugins of a folder run of which `plugins.toml` says nothing.
#[derive(Clone, Debug)]
pub struct Isolation {
    /// The `hogsend` program, which children run.
    pub program: PathBuf,
    /// Whether libraries run in processes of their own while no `plugins.lock` names them.
    pub unless_locked: bool,
}

impl Isolation {
    /// Of this program: in production, only libraries that somebody has approved share its process.
    pub fn of_process(production: bool) -> Self {
        Self {
            program: launch::own_program(),
            unless_locked: production,
        }
    }
}

/// What `hogsend plugin-host` does.
pub enum Task {
    /// Limits this process and becomes a program.
    Program {
        memory_mb: u64,
        words: Vec<OsString>,
    },
    /// Limits this process and becomes the host of a library.
    Library {
        memory_mb: u64,
        library: [OsString; 3],
    },
    /// Answers messages by calling a library.
    Open {
        descriptor: u32,
        copy: PathBuf,
        original: PathBuf,
        symbol: String,
    },
}

/// Runs the child's side. Returns when the host has closed its input.
///
/// # Errors
///
/// The plugin cannot be run.
pub fn host_plugin(task: Task) -> io::Result<()> {
    match task {
        Task::Program { memory_mb, words } => Err(launch::become_program(memory_mb, &words)),
        Task::Library { memory_mb, library } => Err(launch::become_library(memory_mb, &library)),
        Task::Open {
            descriptor,
            copy,
            original,
            symbol,
        } => guest::serve(descriptor, copy, original, symbol),
    }
}
