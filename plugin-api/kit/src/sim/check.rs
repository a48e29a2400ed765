//! Assertions. Each panics with the timeline where it fails.

use super::{Mail, Sim, Status};

/// Lines of the timeline a failed test shows.
const LINES: usize = 200;

impl Sim<'_> {
    /// The person got a mail of this template.
    #[track_caller]
    pub fn assert_sent(&mut self, template: &str) -> &mut Self {
        if self.count(template) == 0 {
            self.fail(&format!("no mail '{template}' went out"));
        }
        self
    }

    /// The person got no mail of this template.
    #[track_caller]
    pub fn assert_not_sent(&mut self, template: &str) -> &mut Self {
        if self.count(template) != 0 {
            self.fail(&format!("a mail '{template}' went out"));
        }
        self
    }

    /// The person got exactly these mails, in this order.
    #[track_caller]
    pub fn assert_mails(&mut self, templates: &[&str]) -> &mut Self {
        let sent: Vec<String> = self.own(|mail| mail.template.clone());
        if sent != templates {
            self.fail(&format!("the mails are {sent:?}, expected {templates:?}"));
        }
        self
    }

    /// The person's newest run has this status.
    #[track_caller]
    pub fn assert_status(&mut self, status: Status) -> &mut Self {
        self.check_status(None, status)
    }

    /// The person's newest run of a journey has this status.
    #[track_caller]
    pub fn assert_status_of(&mut self, journey: &str, status: Status) -> &mut Self {
        self.check_status(Some(journey), status)
    }

    #[track_caller]
    fn check_status(&mut self, journey: Option<&str>, status: Status) -> &mut Self {
        match self.newest(journey) {
            Some((found, _)) if found == status => self,
            Some((found, reason)) => {
                let reason = reason.map(|reason| format!(" ({reason})"));
                self.fail(&format!(
                    "the run is {found}{}, expected {status}",
                    reason.unwrap_or_default()
                ))
            }
            None => self.fail(&format!("there is no run, expected one that is {status}")),
        }
    }

    /// The person has never entered a journey.
    #[track_caller]
    pub fn assert_not_entered(&mut self, journey: &str) -> &mut Self {
        if self.newest(Some(journey)).is_some() {
            self.fail(&format!("'{journey}' was entered"));
        }
        self
    }

    /// A run of the person has passed this checkpoint.
    #[track_caller]
    pub fn assert_checkpoint(&mut self, label: &str) -> &mut Self {
        let person = self.current_name();
        let passed = |run: &&super::Run| {
            run.person == person && run.checkpoints.iter().any(|passed| passed == label)
        };
        if !self.runs.iter().any(|run| passed(&run)) {
            self.fail(&format!("no run has passed the checkpoint '{label}'"));
        }
        self
    }

    fn newest(&mut self, journey: Option<&str>) -> Option<(Status, Option<String>)> {
        let person = self.current_name();
        let mut runs = self.runs.iter().rev();
        let run = runs.find(|run| {
            run.person == person && journey.is_none_or(|journey| *run.journey == *journey)
        })?;
        Some((run.status, run.reason.clone()))
    }

    fn count(&mut self, template: &str) -> usize {
        self.own(|mail| mail.template == template)
            .into_iter()
            .filter(|is_it| *is_it)
            .count()
    }

    fn own<T>(&mut self, what: impl Fn(&Mail) -> T) -> Vec<T> {
        let person = self.current_name();
        let sends = self.sends();
        let own = sends.into_iter().filter(|mail| mail.person == person);
        own.map(what).collect()
    }

    /// The last 200 lines of the timeline, for people.
    pub fn story(&self) -> String {
        let skipped = self.timeline.len().saturating_sub(LINES);
        let mut story = match skipped {
            0 => String::new(),
            skipped => format!("… {skipped} earlier lines\n"),
        };
        for entry in &self.timeline[skipped..] {
            story += &format!("{entry}\n");
        }
        story
    }

    #[track_caller]
    fn fail(&self, message: &str) -> ! {
        panic!(
            "{message}\nit is {}; what happened:\n{}",
            self.now,
            self.story()
        );
    }
}
