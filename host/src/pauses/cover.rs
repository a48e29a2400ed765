//! What pauses cover, and for how long.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};

use crate::db::{self, ClaimedSend, Conn, PauseRow};
use crate::ids::StateId;
use crate::states::{PauseCause, PauseScope};

/// How long an ended pause still counts: longer than mails stay useful.
const REMEMBERED: TimeDelta = TimeDelta::days(90);

/// What a pause covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    Everything,
    /// A journey's runs, mails and entries.
    Journey(String),
    /// The mails of a category.
    Category(String),
}

impl Scope {
    pub fn kind(&self) -> PauseScope {
        match self {
            Self::Everything => PauseScope::Everything,
            Self::Journey(_) => PauseScope::Journey,
            Self::Category(_) => PauseScope::Category,
        }
    }

    /// The journey's id or the category; empty for everything.
    pub fn name(&self) -> &str {
        match self {
            Self::Everything => "",
            Self::Journey(name) | Self::Category(name) => name,
        }
    }

    /// What it is called in a sentence: `everything`, `the journey 'welcome'`.
    pub fn words(&self) -> String {
        match self {
            Self::Everything => "everything".to_owned(),
            Self::Journey(id) => format!("the journey '{id}'"),
            Self::Category(name) => format!("the category '{name}'"),
        }
    }

    /// The command that ends a pause of it which began for this cause.
    pub fn resume_command(&self, cause: PauseCause) -> String {
        match self {
            Self::Everything if cause == PauseCause::Restore => {
                "hogsend resume --after-restore".to_owned()
            }
            Self::Everything => "hogsend resume".to_owned(),
            Self::Journey(id) => format!("hogsend resume --journey {id}"),
            Self::Category(name) => format!("hogsend resume --category {name}"),
        }
    }
}

/// `everything`, `journey:<id>` or `category:<name>`: how rows put aside, health and the audit log name it.
impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.kind().name())?;
        match self {
            Self::Everything => Ok(()),
            Self::Journey(name) | Self::Category(name) => write!(f, ":{name}"),
        }
    }
}

impl From<&PauseRow> for Scope {
    fn from(row: &PauseRow) -> Self {
        match row.scope {
            PauseScope::Everything => Self::Everything,
            PauseScope::Journey => Self::Journey(row.name.clone()),
            PauseScope::Category => Self::Category(row.name.clone()),
        }
    }
}

/// The pauses that last, and those that ended not long ago.
#[derive(Clone, Debug, Default)]
pub struct Pauses(Vec<PauseRow>);

impl Pauses {
    pub async fn load(conn: &mut Conn, now: DateTime<Utc>) -> db::Result<Self> {
        Ok(Self(db::pauses(conn, now - REMEMBERED).await?))
    }

    /// The pauses that last.
    pub fn lasting(&self) -> impl Iterator<Item = &PauseRow> {
        self.0.iter().filter(|pause| pause.until.is_none())
    }

    /// The pause that stops the runs of a journey.
    pub fn of_run(&self, journey: &str) -> Option<Scope> {
        let stops = |scope: &Scope| match scope {
            Scope::Everything => true,
            Scope::Journey(id) => id == journey,
            Scope::Category(_) => false,
        };
        self.lasting().map(Scope::from).find(stops)
    }

    /// Splits mails into those that may go out and those that a pause stops, with the pause. An attempt
    /// that began is finished.
    pub async fn split(
        &self,
        conn: &mut Conn,
        sends: Vec<ClaimedSend>,
    ) -> db::Result<(Vec<ClaimedSend>, Vec<(Scope, ClaimedSend)>)> {
        if self.lasting().next().is_none() {
            return Ok((sends, Vec::new()));
        }
        let journeys = self.journeys(conn, &sends).await?;
        let mut going = Vec::with_capacity(sends.len());
        let mut stopped = Vec::new();
        for send in sends {
            let about = About::of(&send, &journeys);
            let pause = self
                .lasting()
                .find(|pause| !send.in_doubt && about.covered_by(pause));
            match pause {
                Some(pause) => stopped.push((Scope::from(pause), send)),
                None => going.push(send),
            }
        }
        Ok((going, stopped))
    }

    /// Moves the last useful moment of each mail by the time during which pauses covered it. Not by the time
    /// since a restored database was found: its mails may be as old as the backup.
    pub async fn stop_clock(
        &self,
        conn: &mut Conn,
        sends: &mut [ClaimedSend],
        now: DateTime<Utc>,
    ) -> db::Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let journeys = self.journeys(conn, sends).await?;
        for send in sends {
            let Some(end) = send.not_after.filter(|_| !send.not_after_given) else {
                continue;
            };
            let about = About::of(send, &journeys);
            let covering = self
                .0
                .iter()
                .filter(|pause| pause.cause != PauseCause::Restore && about.covered_by(pause));
            send.not_after = Some(end + stood_still(covering, send.created_at, now));
        }
        Ok(())
    }

    /// The journeys of these mails, where it matters.
    async fn journeys(
        &self,
        conn: &mut Conn,
        sends: &[ClaimedSend],
    ) -> db::Result<HashMap<StateId, String>> {
        if !self.0.iter().any(|one| one.scope == PauseScope::Journey) {
            return Ok(HashMap::new());
        }
        let runs: Vec<StateId> = sends.iter().filter_map(|send| send.state_id).collect();
        db::sends_journeys(conn, &runs).await
    }
}

/// What pauses look at in a mail.
struct About<'a> {
    journey: Option<&'a str>,
    category: &'a str,
}

impl<'a> About<'a> {
    fn of(send: &'a ClaimedSend, journeys: &'a HashMap<StateId, String>) -> Self {
        let journey = send.state_id.and_then(|run| journeys.get(&run));
        Self {
            journey: journey.map(String::as_str),
            category: &send.category,
        }
    }

    fn covered_by(&self, pause: &PauseRow) -> bool {
        match pause.scope {
            PauseScope::Everything => true,
            PauseScope::Journey => self.journey == Some(&pause.name),
            PauseScope::Category => self.category == pause.name,
        }
    }
}

/// For how long between two moments at least one of these pauses, the oldest first, lasted.
fn stood_still<'a>(
    pauses: impl Iterator<Item = &'a PauseRow>,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> TimeDelta {
    let mut counted_to = from;
    let mut total = TimeDelta::zero();
    for pause in pauses {
        let begin = pause.since.max(counted_to);
        let end = pause.until.unwrap_or(to).min(to);
        if end > begin {
            total += end - begin;
            counted_to = end;
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, Utc};

    use super::{Pauses, Scope, stood_still};
    use crate::db::PauseRow;
    use crate::states::{PauseCause, PauseScope};

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(minute * 60, 0).unwrap()
    }

    fn row(scope: PauseScope, name: &str, since: i64, until: Option<i64>) -> PauseRow {
        PauseRow {
            scope,
            name: name.to_owned(),
            since: at(since),
            until: until.map(at),
            cause: PauseCause::Operator,
            reason: None,
            paused_by: "test".to_owned(),
        }
    }

    #[test]
    fn overlapping_pauses_stop_the_clock_once() {
        let pause = |since, until| row(PauseScope::Everything, "", since, until);
        // From, to, pauses, minutes.
        let cases = [
            (0, 100, vec![], 0),
            (0, 100, vec![pause(10, Some(20))], 10),
            (15, 100, vec![pause(10, Some(20))], 5),
            (30, 100, vec![pause(10, Some(20))], 0),
            (0, 100, vec![pause(10, Some(40)), pause(20, Some(30))], 30),
            (0, 100, vec![pause(10, Some(30)), pause(20, Some(40))], 30),
            (0, 100, vec![pause(10, Some(20)), pause(90, None)], 20),
            (0, 5, vec![pause(10, None)], 0),
        ];
        for (from, to, pauses, minutes) in cases {
            assert_eq!(
                stood_still(pauses.iter(), at(from), at(to)),
                TimeDelta::minutes(minutes),
                "{from} to {to}, {pauses:?}"
            );
        }
    }

    #[test]
    fn a_run_is_stopped_by_a_lasting_pause_of_its_journey_or_of_everything() {
        let stopped = |rows: Vec<PauseRow>| Pauses(rows).of_run("welcome");
        let journey = |name, until| row(PauseScope::Journey, name, 0, until);
        assert_eq!(stopped(vec![journey("welcome", Some(1))]), None);
        assert_eq!(stopped(vec![journey("trial", None)]), None);
        assert_eq!(
            stopped(vec![row(PauseScope::Category, "welcome", 0, None)]),
            None
        );
        assert_eq!(
            stopped(vec![journey("welcome", None)]),
            Some(Scope::Journey("welcome".to_owned()))
        );
        assert_eq!(
            stopped(vec![row(PauseScope::Everything, "", 0, None)]),
            Some(Scope::Everything)
        );
    }
}
