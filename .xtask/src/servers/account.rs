//! The account the servers run as. Postgres refuses to run as root.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

/// An unprivileged user and group; `None` where this process is not root.
pub struct Account(Option<(u32, u32)>);

impl Account {
    pub fn unprivileged() -> anyhow::Result<Self> {
        if !is_root()? {
            return Ok(Self(None));
        }
        for name in ["postgres", "nobody"] {
            if let (Ok(user), Ok(group)) = (id(&["-u", name]), id(&["-g", name])) {
                return Ok(Self(Some((user, group))));
            }
        }
        bail!("Postgres does not run as root, and there is no account `postgres` or `nobody`");
    }

    pub fn own(&self, path: &Path) -> anyhow::Result<()> {
        match self.0 {
            Some((user, group)) => chown(path, Some(user), Some(group))
                .with_context(|| format!("cannot change the owner of {}", path.display())),
            None => Ok(()),
        }
    }

    /// The user and group ids of the servers.
    pub fn ids(&self) -> anyhow::Result<(u32, u32)> {
        match self.0 {
            Some(ids) => Ok(ids),
            None => Ok((id(&["-u"])?, id(&["-g"])?)),
        }
    }

    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        if let Some((user, group)) = self.0 {
            command.uid(user).gid(group);
        }
        command
    }
}

pub fn is_root() -> anyhow::Result<bool> {
    Ok(id(&["-u"])? == 0)
}

fn id(args: &[&str]) -> anyhow::Result<u32> {
    let output = Command::new("id")
        .args(args)
        .output()
        .context("cannot run id")?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim()
        .parse()
        .with_context(|| format!("`id {}` printed no number", args.join(" ")))
}
