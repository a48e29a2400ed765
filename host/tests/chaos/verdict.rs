//! Compares the accepted sign-ups with the provider's mails.

use std::collections::HashMap;
use std::fmt;

use sqlx::{Connection as _, PgConnection};

use crate::fleet::Fleet;
use crate::people::{Person, Story};
use crate::plan::{Plan, Wire};
use crate::provider::Provider;

/// Maximum number of names in a fault.
const SHOWN: usize = 5;

pub struct Report {
    line: String,
    faults: Vec<String>,
}

impl Report {
    pub fn is_clean(&self) -> bool {
        self.faults.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.line)?;
        for fault in &self.faults {
            write!(f, "\n  FAULT: {fault}")?;
        }
        Ok(())
    }
}

pub async fn judge(
    plan: &Plan,
    people: &[Person],
    provider: &Provider,
    fleet: &Fleet,
    kills: usize,
) -> Report {
    let mut conn = PgConnection::connect(&fleet.database_url).await.unwrap();
    let rows: Vec<(String, String)> = sqlx::query_as("SELECT to_email, status FROM email_sends")
        .fetch_all(&mut conn)
        .await
        .unwrap();
    let cut_off: i64 = sqlx::query_scalar(
        "SELECT count(DISTINCT send_id) FROM email_attempts
         WHERE ended_at IS NULL OR outcome = 'unknown'",
    )
    .fetch_one(&mut conn)
    .await
    .unwrap();
    let events: i64 =
        sqlx::query_scalar("SELECT count(*) FROM user_events WHERE name = 'user.created'")
            .fetch_one(&mut conn)
            .await
            .unwrap();

    let got = provider.mails();
    let ambiguous: Vec<&str> = with_status(&rows, "ambiguous");
    let twice = names(people, |one| got.get(&one.email).copied().unwrap_or(0) > 1);
    let lost = names(people, |one| {
        one.story.must_get_mail()
            && !got.contains_key(&one.email)
            && !ambiguous.contains(&one.email.as_str())
    });
    let stored_twice = names(people, |one| one.stored > 1);
    let burnt = with_status(&rows, "failed");
    let unstored = people
        .iter()
        .filter(|one| one.story != Story::Erased)
        .count() as i64
        - events;

    let mut faults = Vec::new();
    let mut fault = |what: &str, who: &[&str]| {
        if !who.is_empty() {
            let shown = &who[..who.len().min(SHOWN)];
            faults.push(format!("{} {what}: {}", who.len(), shown.join(", ")));
        }
    };
    fault("mails went out twice", &twice);
    fault("mails were lost", &lost);
    fault("sign-ups were stored twice", &stored_twice);
    fault("mails failed though nothing was wrong with them", &burnt);
    if unstored > 0 {
        faults.push(format!("{unstored} accepted sign-ups are not stored"));
    }
    if ambiguous.len() as i64 > cut_off {
        faults.push(format!(
            "{} mails are ambiguous, but only {cut_off} were in flight when a process died",
            ambiguous.len()
        ));
    }
    if plan.provider == Wire::Resend && !ambiguous.is_empty() {
        faults.push(format!(
            "{} mails are ambiguous at a provider that knows idempotency keys",
            ambiguous.len()
        ));
    }
    if provider.broken_keys() > 0 {
        faults.push(format!(
            "{} requests came again under their key with another body",
            provider.broken_keys()
        ));
    }
    let line = format!(
        "chaos: seed {}, {}: {} people, {kills} kills, {} mails taken in {} requests, {} lost, {} twice, {} ambiguous ({cut_off} attempts cut off); statuses {}",
        plan.seed,
        plan.provider,
        people.len(),
        got.values().sum::<usize>(),
        provider.requests(),
        lost.len(),
        twice.len(),
        ambiguous.len(),
        tally(&rows),
    );
    Report { line, faults }
}

fn names(people: &[Person], is: impl Fn(&Person) -> bool) -> Vec<&str> {
    let found = people.iter().filter(|one| is(one));
    found.map(|one| one.email.as_str()).collect()
}

fn with_status<'a>(rows: &'a [(String, String)], wanted: &str) -> Vec<&'a str> {
    let found = rows.iter().filter(|(_, status)| status == wanted);
    found.map(|(to, _)| to.as_str()).collect()
}

fn tally(rows: &[(String, String)]) -> String {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for (_, status) in rows {
        *counts.entry(status).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_unstable();
    let words: Vec<String> = counts
        .iter()
        .map(|(status, count)| format!("{status} {count}"))
        .collect();
    words.join(", ")
}
