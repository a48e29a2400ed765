//! How a child is started.
//!
//! It is started by this program itself (`hogsend plugin-host`), which limits its own memory, asks the
//! system to end it with the host, and becomes the plugin. So no code runs between fork and exec.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Resource, getrlimit, setrlimit};

/// This program, on Linux also where its file was replaced since it started.
pub fn own_program() -> PathBuf {
    match cfg!(target_os = "linux") {
        true => "/proc/self/exe".into(),
        false => std::env::current_exe().unwrap_or_else(|_| "hogsend".into()),
    }
}

/// The hidden command, and its three subcommands.
pub const COMMAND: &str = "plugin-host";
pub const LIBRARY: &str = "library";
pub const PROGRAM: &str = "program";
pub const OPEN: &str = "open";

/// Megabytes that a child may use where `plugins.toml` says nothing else.
pub const MEMORY_MB: u64 = 512;

/// A child to start.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The `hogsend` program.
    pub host: PathBuf,
    /// Where the child runs.
    pub folder: PathBuf,
    pub memory_mb: u64,
    pub what: What,
}

/// What a child runs.
#[derive(Clone, Debug)]
pub enum What {
    /// A checked copy of a library.
    Library {
        copy: PathBuf,
        original: PathBuf,
        symbol: String,
    },
    /// A program and its arguments. It is looked for in the host's `PATH`.
    Program(Vec<String>),
}

impl Launch {
    /// The file or program, for messages.
    pub fn name(&self) -> String {
        match &self.what {
            What::Library { original, .. } => original.display().to_string(),
            What::Program(words) => words.join(" "),
        }
    }

    /// The command, in a process group of its own: a Ctrl-C for the host does not reach it.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.host);
        command
            .arg0("hogsend")
            .arg(COMMAND)
            .arg(match self.what {
                What::Library { .. } => LIBRARY,
                What::Program(_) => PROGRAM,
            })
            .arg(self.memory_mb.to_string())
            .env_clear()
            .current_dir(&self.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        match &self.what {
            What::Library {
                copy,
                original,
                symbol,
            } => command.args([copy, original]).arg(symbol),
            What::Program(words) => {
                if let Some(path) = std::env::var_os("PATH") {
                    command.env("PATH", path);
                }
                command.arg("--").args(words)
            }
        };
        command
    }
}

/// Becomes the program of a plugin. Returns only where that fails.
pub fn become_program(memory_mb: u64, words: &[OsString]) -> io::Error {
    let Some((program, arguments)) = words.split_first() else {
        return io::Error::other("no program is named");
    };
    if let Err(error) = confine(memory_mb) {
        return error;
    }
    let error = Command::new(program).args(arguments).exec();
    let program = Path::new(program).display();
    io::Error::new(error.kind(), format!("{program} cannot be run: {error}"))
}

/// Becomes the host of a library: what the library prints goes to standard error, and messages go to a
/// descriptor of their own. Returns only where that fails.
pub fn become_library(memory_mb: u64, library: &[OsString]) -> io::Error {
    let again = || {
        confine(memory_mb)?;
        let messages = io::stdout().as_fd().try_clone_to_owned()?;
        // It stays open in the program that this one becomes.
        fcntl_setfd(&messages, FdFlags::empty())?;
        let printed = io::stderr().as_fd().try_clone_to_owned()?;
        let descriptor = messages.as_raw_fd().to_string();
        let mut command = Command::new(own_program());
        let command = command.arg0("hogsend").args([COMMAND, OPEN, &descriptor]);
        Err(command.args(library).stdout(Stdio::from(printed)).exec())
    };
    again().unwrap_or_else(|error| error)
}

/// Limits the memory of this process and of what it becomes, writes no core files, which would hold
/// secrets, and ends with the process that started this one.
fn confine(memory_mb: u64) -> io::Result<()> {
    lower(Resource::Core, 0)?;
    #[cfg(target_os = "linux")]
    {
        // Memory that may be written to; address space that is only reserved does not count.
        lower(Resource::Data, memory_mb.saturating_mul(1024 * 1024))?;
        let signal = rustix::process::Signal::KILL;
        rustix::process::set_parent_process_death_signal(Some(signal))?;
    }
    Ok(())
}

fn lower(resource: Resource, most: u64) -> io::Result<()> {
    let mut limit = getrlimit(resource);
    let most = limit.maximum.map_or(most, |known| known.min(most));
    (limit.current, limit.maximum) = (Some(most), Some(most));
    Ok(setrlimit(resource, limit)?)
}
