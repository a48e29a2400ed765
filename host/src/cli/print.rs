//! What the binary knows about itself, for other tools: shell completions and the OpenAPI document.

use std::io::{self, Write as _};

use clap::CommandFactory as _;
use clap_complete::Generator as _;
use clap_complete::aot::{Bash, Fish, Zsh};

use super::Cli;
use crate::http;

/// The shells that `hogsend completions` knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Prints the completions of a shell.
pub fn completions(shell: Shell) -> io::Result<()> {
    let mut command = Cli::command();
    command.set_bin_name("hogsend");
    command.build();
    let mut text = Vec::new();
    match shell {
        Shell::Bash => Bash.generate(&command, &mut text),
        Shell::Zsh => Zsh.generate(&command, &mut text),
        Shell::Fish => Fish.generate(&command, &mut text),
    }
    io::stdout().write_all(&text)
}

/// Prints the OpenAPI document of the HTTP API, as development serves it at `/openapi.json`.
pub fn openapi() -> anyhow::Result<()> {
    let document = serde_json::to_string_pretty(&http::document())?;
    writeln!(io::stdout(), "{document}")?;
    Ok(())
}
