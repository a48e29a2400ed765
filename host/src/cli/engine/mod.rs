//! `hogsend engine`.

mod status;
mod switch;

use clap::Subcommand;
use clap::builder::PossibleValuesParser;

use super::Environment;
use crate::worker::engine::KINDS;

#[derive(Subcommand)]
pub enum EngineCommand {
    /// Show which engine wakes runs, for each kind of worker, and what waits for it
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Move the open runs to another engine, and say what to set for the workers
    Switch {
        #[arg(value_parser = PossibleValuesParser::new(KINDS))]
        to: String,
        /// Only check the connection and count the runs
        #[arg(long)]
        dry_run: bool,
    },
}

pub async fn run(environment: &Environment, command: EngineCommand) -> anyhow::Result<()> {
    match command {
        EngineCommand::Status { json } => status::status(environment, json).await,
        EngineCommand::Switch { to, dry_run } => {
            Box::pin(switch::switch(environment, &to, dry_run)).await
        }
    }
}
