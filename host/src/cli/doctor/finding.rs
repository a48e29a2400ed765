//! What the doctor found, and how it is printed.

use serde::Serialize;

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Ok,
    /// It does not apply here: development needs less, or a part is not used.
    Skipped,
    /// It works, and could be better.
    Warning,
    Failed,
}

impl Outcome {
    fn mark(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Skipped => "skipped",
            Self::Warning => "warning",
            Self::Failed => "FAILED",
        }
    }
}

/// One thing that was checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is about: `database`, `plugin resend`.
    pub about: String,
    pub outcome: Outcome,
    /// What was found, without secrets.
    pub detail: String,
    /// What to do; absent where there is nothing to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl Finding {
    pub fn ok(about: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(Outcome::Ok, about, detail, None)
    }

    pub fn skipped(about: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(Outcome::Skipped, about, detail, None)
    }

    pub fn warning(
        about: impl Into<String>,
        detail: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self::new(Outcome::Warning, about, detail, Some(fix.into()))
    }

    pub fn failed(
        about: impl Into<String>,
        detail: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self::new(Outcome::Failed, about, detail, Some(fix.into()))
    }

    /// From a sentence that says what is wrong and, behind a colon, what to do.
    pub fn of_sentence(outcome: Outcome, about: impl Into<String>, sentence: &str) -> Self {
        let (detail, fix) = match sentence.split_once(": ") {
            Some((detail, fix)) => (detail, Some(fix.to_owned())),
            None => (sentence, None),
        };
        Self::new(outcome, about, detail, fix)
    }

    fn new(
        outcome: Outcome,
        about: impl Into<String>,
        detail: impl Into<String>,
        fix: Option<String>,
    ) -> Self {
        Self {
            about: about.into(),
            outcome,
            detail: detail.into(),
            fix,
        }
    }
}

/// Everything that was checked.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Whether the settings are those of production.
    pub production: bool,
    pub failed: usize,
    pub warnings: usize,
    pub findings: Vec<Finding>,
}

impl Report {
    pub fn new(production: bool, findings: Vec<Finding>) -> Self {
        let count = |outcome| findings.iter().filter(|one| one.outcome == outcome).count();
        Self {
            production,
            failed: count(Outcome::Failed),
            warnings: count(Outcome::Warning),
            findings,
        }
    }

    /// One line for each finding, and one for its fix.
    pub fn text(&self) -> String {
        let width = self.findings.iter().map(|one| one.about.len()).max();
        let width = width.unwrap_or_default();
        let mut text = String::new();
        for one in &self.findings {
            let (mark, about, detail) = (one.outcome.mark(), &one.about, &one.detail);
            text += &format!("{mark:<8} {about:<width$}  {detail}\n");
            if let Some(fix) = &one.fix {
                text += &format!("{:<8} {:<width$}  → {fix}\n", "", "");
            }
        }
        text += &match (self.failed, self.warnings) {
            (0, 0) => "everything that was checked works".to_owned(),
            (failed, warnings) => format!("failed: {failed}, warnings: {warnings}"),
        };
        text
    }
}

#[cfg(test)]
mod tests {
    use super::{Finding, Outcome, Report};

    #[test]
    fn a_report_counts_and_shows_each_fix_below_its_finding() {
        let findings = vec![
            Finding::ok("database", "Postgres 18"),
            Finding::of_sentence(
                Outcome::Failed,
                "redis",
                "it does not answer: set REDIS_URL=off: it is optional",
            ),
            Finding::skipped("domain", "no sender"),
        ];
        let report = Report::new(true, findings);
        assert_eq!((report.failed, report.warnings), (1, 0));
        assert_eq!(
            report.text(),
            "ok       database  Postgres 18\n\
             FAILED   redis     it does not answer\n\
             \u{20}                  → set REDIS_URL=off: it is optional\n\
             skipped  domain    no sender\n\
             failed: 1, warnings: 0"
        );
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["findings"][1]["outcome"], "failed");
        assert_eq!(json["findings"][0].get("fix"), None);
    }
}
