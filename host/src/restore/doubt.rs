//! Why a database may not be the one that it was.

use crate::audit::Actor;
use crate::db::{self, Conn};
use crate::pauses::{Scope, begin};
use crate::states::PauseCause;
use chrono::{DateTime, Utc};

/// Who pauses, in health and in the audit log.
const WHO: Actor = Actor::System("restore check");

const SERVER: &str = "the database is not where it was: it was restored from a backup, copied or moved to another server";
const BEHIND: &str = "the database lacks what a worker of this installation has already stored: it was restored from a backup";
const REPORTS: &str = "a delivery provider reports on mails that the ledger does not know or has not sent yet: the database was restored from a backup or copied";

/// What was noticed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// A worker has another public address.
    Address { used: String, found: String },
    /// The database is on another server, or another database on it.
    Server,
    /// A worker remembers more than the database knows.
    Behind,
    /// Providers report on mails that were never sent, as far as the ledger knows.
    Reports,
}

impl Doubt {
    /// The reason of the pause.
    pub fn reason(&self) -> String {
        match self {
            Self::Address { used, found } => format!(
                "the database was used with API_PUBLIC_URL={} and a worker started with {}: it is a copy, \
                 or the address has changed",
                short(used),
                short(found)
            ),
            Self::Server => SERVER.to_owned(),
            Self::Behind => BEHIND.to_owned(),
            Self::Reports => REPORTS.to_owned(),
        }
    }
}

/// A reason has at most 500 characters.
fn short(url: &str) -> String {
    url.chars().take(150).collect()
}

/// Pauses everything because of a doubt. Returns whether the pause is new.
pub(super) async fn halt(conn: &mut Conn, doubt: &Doubt, now: DateTime<Utc>) -> db::Result<bool> {
    let about = (&Scope::Everything, PauseCause::Restore);
    begin(conn, &WHO, about, Some(&doubt.reason()), now).await
}
