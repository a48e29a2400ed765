//! `hogsend plugin-host`: a plugin in a process of its own.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use crate::plugins::{Task, host_plugin};

#[derive(Subcommand)]
pub enum PluginHostCommand {
    /// Limit the memory and run a program
    Program {
        memory_mb: u64,
        #[arg(last = true, required = true)]
        words: Vec<OsString>,
    },
    /// Limit the memory and open a library
    Library {
        memory_mb: u64,
        copy: OsString,
        original: OsString,
        symbol: OsString,
    },
    /// Open a library, and write answers to a descriptor
    Open {
        descriptor: u32,
        copy: PathBuf,
        original: PathBuf,
        symbol: String,
    },
}

/// Runs it until its input is closed.
pub fn run(command: PluginHostCommand) -> ExitCode {
    let task = match command {
        PluginHostCommand::Program { memory_mb, words } => Task::Program { memory_mb, words },
        PluginHostCommand::Library {
            memory_mb,
            copy,
            original,
            symbol,
        } => Task::Library {
            memory_mb,
            library: [copy, original, symbol],
        },
        PluginHostCommand::Open {
            descriptor,
            copy,
            original,
            symbol,
        } => Task::Open {
            descriptor,
            copy,
            original,
            symbol,
        },
    };
    match host_plugin(task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the plugin cannot be run: {error}");
            ExitCode::FAILURE
        }
    }
}
