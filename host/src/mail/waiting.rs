//! What a resume would send: for an operator who has to decide whether a restored database may.

use chrono::{DateTime, Utc};

use super::fate::useful;
use crate::db::{self, Conn, MailsWaiting, RunsWaiting};

/// The mails and runs that wait.
#[derive(Clone, Debug)]
pub struct Plan {
    /// By template.
    pub mails: Vec<MailsWaiting>,
    pub runs: RunsWaiting,
}

/// Counts what waits as of `now`.
pub async fn plan(conn: &mut Conn, now: DateTime<Utc>) -> db::Result<Plan> {
    Ok(Plan {
        mails: db::mails_waiting(conn, now, (useful(true), useful(false))).await?,
        runs: db::runs_waiting(conn, now).await?,
    })
}

/// `it will send 3 mails (welcome 2, receipt 1), skip 40 that are past their last useful moment, …`
impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sum = |part: fn(&MailsWaiting) -> i64| self.mails.iter().map(part).sum::<i64>();
        let (send, skip, doubt) = (sum(|it| it.send), sum(|it| it.skip), sum(|it| it.in_doubt));
        write!(f, "it will send {send} mails")?;
        let each = self.mails.iter().filter(|it| it.send > 0);
        let each: Vec<String> = each
            .map(|it| format!("{} {}", it.template_key, it.send))
            .collect();
        if !each.is_empty() {
            write!(f, " ({})", each.join(", "))?;
        }
        write!(f, " and skip {skip} that are past their last useful moment")?;
        if doubt > 0 {
            write!(
                f,
                "; {doubt} mails without an answer of their provider are repeated under the same key, or end \
                 as ambiguous"
            )?;
        }
        let RunsWaiting { open, due } = self.runs;
        write!(
            f,
            "; {open} runs go on, {due} of them at once, and may decide on more mails"
        )
    }
}
