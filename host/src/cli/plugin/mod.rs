//! `hogsend plugin …`: what is installed, installing more, and checking a library first.

mod check;
mod install;
mod list;
mod probe;
mod report;
mod samples;
mod setup;

pub use setup::{Loaded, load};

use std::path::PathBuf;

use clap::Subcommand;

use super::{Environment, plugin_new};

#[derive(Subcommand)]
pub enum PluginCommand {
    /// List every linked and loaded plugin
    List,
    /// Make the crate of a new plugin, with its conformance test
    New(plugin_new::New),
    /// Check a library in a process of its own; without FILE, let the plugins try out their keys
    Check {
        /// A plugin library, installed or not
        file: Option<PathBuf>,
        /// Print JSON
        #[arg(long, requires = "file")]
        json: bool,
        #[command(flatten)]
        values: check::Values,
    },
    /// Show what to enter at the vendors, for example the URLs of webhooks
    Setup,
    /// Check a library and copy it into PLUGIN_DIR
    Add(install::Add),
    /// Write plugins.lock with the libraries in PLUGIN_DIR, which approves all of them
    Lock,
    /// Delete a library from PLUGIN_DIR
    Remove {
        /// The plugin's id, or the name of its file
        plugin: String,
    },
    /// The process that `plugin check` starts
    #[command(hide = true)]
    Probe(probe::Probe),
}

pub async fn run(environment: &Environment, command: PluginCommand) -> anyhow::Result<()> {
    match command {
        PluginCommand::List => list::list(environment),
        PluginCommand::New(new) => plugin_new::run(&new),
        PluginCommand::Check { file: None, .. } => setup::check(environment).await,
        PluginCommand::Check {
            file: Some(file),
            json,
            values,
        } => check::run(&file, json, &values).await,
        PluginCommand::Setup => setup::setup(environment).await,
        PluginCommand::Add(add) => install::add(environment, add).await,
        PluginCommand::Lock => install::lock(environment),
        PluginCommand::Remove { plugin } => install::remove(environment, &plugin).await,
        PluginCommand::Probe(wanted) => Box::pin(probe::run(wanted)).await,
    }
}
