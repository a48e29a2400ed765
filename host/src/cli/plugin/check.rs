//! `hogsend plugin check FILE`: the library runs in a process of its own, so that one which ends its
//! process, hangs or takes all memory is a line of the report.

use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;

use super::report::{Check, Report};

/// How long all checks together may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Values of settings that the library is tried out with.
#[derive(Args, Clone, Debug, Default)]
pub struct Values {
    /// A value for a setting of the plugin, in place of a sample; may be given several times
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    pub set: Vec<(String, String)>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=');
    let pair = pair.ok_or_else(|| "write NAME=VALUE".to_owned());
    pair.map(|(name, value)| (name.to_owned(), value.to_owned()))
}

/// Checks a library and prints the report. Fails where there is something to fix.
pub async fn run(file: &Path, json: bool, values: &Values) -> anyhow::Result<()> {
    let report = probe(file, values).await?;
    match json {
        true => println!("{}", serde_json::to_string_pretty(&report)?),
        false => println!("{}", report.text()),
    }
    match report.is_sound() {
        true => Ok(()),
        false => bail!("{} must not be used as it is", file.display()),
    }
}

/// Checks a library in a process of its own. Nothing that the library does is an error here.
pub async fn probe(file: &Path, values: &Values) -> anyhow::Result<Report> {
    let file = std::path::absolute(file).context("the current folder cannot be read")?;
    let folder = Folder::create()?;
    let path = folder.0.join("report.json");
    let program = std::env::current_exe().context("this program's own file is unknown")?;
    let child = Command::new(program)
        .args(["plugin", "probe"])
        .arg(&file)
        .arg("--report")
        .arg(&path)
        .args(
            values
                .set
                .iter()
                .map(|(name, value)| format!("--set={name}={value}")),
        )
        // A library that is not approved yet must see no secrets.
        .env_clear()
        .current_dir(&folder.0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("the checking process cannot be started")?;
    let ended = end(child).await?;
    let report = std::fs::read(&path).ok();
    let report = report.and_then(|text| serde_json::from_slice(&text).ok());
    let mut report: Report = report.unwrap_or_else(|| Report::new(file));
    let why = match ended {
        Some(ended) => how(ended),
        None => Some(format!("the check did not end within {PATIENCE:?}")),
    };
    // The report is complete only if the process said so and ended well.
    match (report.running.take(), why) {
        (None, None) if !report.checks.is_empty() => {}
        (running, why) => {
            let mut check = Check::new(running.as_deref().unwrap_or("process"));
            let why = why.unwrap_or_else(|| "the checking process ended early".into());
            check.fault(format!(
                "{why}: in Hogsend's process this would have ended Hogsend"
            ));
            report.checks.push(check);
        }
    }
    Ok(report)
}

/// Waits for a process, and ends one that takes too long: then `None`.
async fn end(mut child: Child) -> anyhow::Result<Option<ExitStatus>> {
    let id = child.id();
    let mut waiting = tokio::task::spawn_blocking(move || child.wait());
    if let Ok(ended) = tokio::time::timeout(PATIENCE, &mut waiting).await {
        return Ok(Some(ended??));
    }
    #[cfg(unix)]
    if let Some(id) = i32::try_from(id)
        .ok()
        .and_then(rustix::process::Pid::from_raw)
    {
        // It is not waited for yet, so the number is still its own.
        let _ = rustix::process::kill_process(id, rustix::process::Signal::KILL);
    }
    Ok(None)
}

/// How a process ended, unless it ended well.
fn how(status: ExitStatus) -> Option<String> {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        let name = match signal {
            4 => " (SIGILL)",
            6 => " (SIGABRT: an abort, a failed allocation or a second panic)",
            7 => " (SIGBUS)",
            9 => " (SIGKILL: perhaps too much memory or time)",
            11 => " (SIGSEGV: an invalid memory access or an endless recursion)",
            24 => " (SIGXCPU: too much time)",
            _ => "",
        };
        return Some(format!(
            "the library ended the checking process by signal {signal}{name}"
        ));
    }
    match status.code() {
        Some(0) => None,
        Some(code) => Some(format!(
            "the library ended the checking process with exit code {code}"
        )),
        None => Some("the library ended the checking process".into()),
    }
}

/// A folder that is deleted at the end.
struct Folder(std::path::PathBuf);

impl Folder {
    fn create() -> anyhow::Result<Self> {
        let name = format!("hogsend-check-{}", uuid::Uuid::new_v4().simple());
        let path = std::env::temp_dir().join(name);
        crate::private::folder(&path)
            .with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
