//! What `hogsend plugin check` found out about a library.

use std::path::PathBuf;

use hogsend_plugin_api::Manifest;
use serde::{Deserialize, Serialize};

/// The whole report. The checking process writes it before and after each check, so that one which ends
/// the process is known.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    pub file: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// What the library says of itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Manifest>,
    pub checks: Vec<Check>,
    /// The check under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running: Option<String>,
}

/// One check.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Check {
    pub name: String,
    /// What was found, where all is well.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub found: String,
    /// What has to be fixed, one sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<String>,
    /// What should be known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl Check {
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..Self::default()
        }
    }

    pub fn fault(&mut self, what: impl Into<String>) {
        self.faults.push(what.into());
    }

    pub fn note(&mut self, what: impl Into<String>) {
        self.notes.push(what.into());
    }
}

impl Report {
    pub fn new(file: PathBuf) -> Self {
        Self {
            file,
            sha256: None,
            manifest: None,
            checks: Vec::new(),
            running: None,
        }
    }

    /// Whether there is nothing to fix.
    pub fn is_sound(&self) -> bool {
        self.checks.iter().all(|check| check.faults.is_empty())
    }

    /// Every fault, with the name of its check.
    pub fn faults(&self) -> impl Iterator<Item = String> {
        let checks = self.checks.iter();
        checks.flat_map(|check| {
            check
                .faults
                .iter()
                .map(|fault| format!("{}: {fault}", check.name))
        })
    }

    /// The report as text, without control characters of the library's own.
    pub fn text(&self) -> String {
        let mut lines = Vec::new();
        if let Some(manifest) = &self.manifest {
            let kinds: Vec<&str> = manifest
                .kinds
                .iter()
                .copied()
                .map(super::list::kind)
                .collect();
            lines.push(format!(
                "{} {} (plugin-api {}): {}",
                manifest.id,
                manifest.version,
                manifest.api,
                kinds.join(", ")
            ));
        }
        lines.push(format!("{}", self.file.display()));
        if let Some(sha256) = &self.sha256 {
            lines.push(format!("sha256 {sha256}"));
        }
        lines.push(String::new());
        for check in &self.checks {
            let (mark, found) = match check.faults.is_empty() {
                true => ("ok  ", check.found.as_str()),
                false => ("FAIL", ""),
            };
            lines.push(format!("{mark}  {:<10} {found}", check.name));
            lines.extend(check.faults.iter().map(|fault| format!("      {fault}")));
            lines.extend(check.notes.iter().map(|note| format!("      note: {note}")));
        }
        let faults = self.faults().count();
        lines.push(String::new());
        lines.push(match faults {
            0 => "nothing to fix".into(),
            1 => "1 fault to fix".into(),
            several => format!("{several} faults to fix"),
        });
        let lines = lines.iter().map(|line| plain(line.trim_end()));
        lines.collect::<Vec<_>>().join("\n")
    }
}

fn plain(line: &str) -> String {
    line.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Check, Report};

    #[test]
    fn a_report_names_every_fault_and_shows_no_control_characters() {
        let mut report = Report::new("libx.so".into());
        let mut sound = Check::new("file");
        sound.found = "12 KiB".into();
        report.checks.push(sound);
        assert!(report.is_sound() && report.text().ends_with("nothing to fix"));
        let mut broken = Check::new("manifest");
        broken.fault("the version '\u{1b}[2J' is not semantic");
        report.checks.push(broken);
        let text = report.text();
        assert!(
            !report.is_sound() && text.ends_with("1 fault to fix"),
            "{text}"
        );
        assert!(
            text.contains("FAIL  manifest") && !text.contains('\u{1b}'),
            "{text}"
        );
    }
}
