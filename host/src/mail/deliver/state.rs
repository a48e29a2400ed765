//! The state of the active providers, for operators.

use chrono::{DateTime, Utc};
use strum::{IntoStaticStr, VariantNames};

use super::providers::print;
use crate::context::Context;
use crate::db::{self, Conn, Hold, HoldKind};
use crate::mail::compose::sender;
use crate::purpose::Purpose;

/// Whether a provider takes mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum Taking {
    Up,
    /// A limit that ends by itself, or several failures in a row.
    Resting,
    /// Someone has to act: all its mail, or that of one sender, is refused.
    Blocked,
}

impl Taking {
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// An active provider and the holds on it.
#[derive(Clone, Debug)]
pub struct ProviderState {
    pub id: String,
    /// The mail it takes.
    pub purposes: Vec<Purpose>,
    /// The most severe first.
    pub holds: Vec<Hold>,
}

impl ProviderState {
    pub fn taking(&self) -> Taking {
        match self.holds.first().map(|hold| hold.kind) {
            None => Taking::Up,
            Some(HoldKind::Limit | HoldKind::Rest) => Taking::Resting,
            Some(HoldKind::Block) => Taking::Blocked,
        }
    }

    /// Why it takes no mail, in one line.
    pub fn reason(&self) -> Option<String> {
        let hold = self.holds.first()?;
        Some(match &*hold.sender {
            "" => hold.reason.clone(),
            sender => format!("mail from {sender}: {}", hold.reason),
        })
    }

    /// The end of a limit, or when the next mail probes the provider.
    pub fn until(&self) -> Option<DateTime<Utc>> {
        self.holds.first().map(|hold| hold.until)
    }

    /// When the present state began.
    pub fn since(&self) -> Option<DateTime<Utc>> {
        self.holds.first().map(|hold| hold.since)
    }
}

/// The order of providers for mail of one purpose, and its sender.
pub struct Route {
    pub purpose: Purpose,
    /// In order of preference.
    pub providers: Vec<String>,
    pub sender: String,
}

/// The route of each purpose.
pub fn routes(cx: &Context) -> [Route; 2] {
    let plugins = cx.plugins();
    Purpose::ALL.map(|purpose| Route {
        purpose,
        providers: plugins.routes().of(purpose).clone(),
        sender: sender(cx, purpose),
    })
}

/// The state of the active providers, those of lifecycle mail first, in the operator's order. Limits that are over and holds that
/// began with other settings are ignored.
pub async fn provider_states(
    cx: &Context,
    conn: &mut Conn,
    now: DateTime<Utc>,
) -> db::Result<Vec<ProviderState>> {
    let all = db::provider_holds(conn, now).await?;
    let plugins = cx.plugins();
    let states = plugins.deliveries().into_iter().map(|provider| {
        let print = print(cx, &provider);
        let counts = |hold: &&Hold| {
            hold.provider == provider.id()
                && hold.print == print
                && (hold.kind != HoldKind::Limit || hold.until > now)
        };
        let mut holds: Vec<Hold> = all.iter().filter(counts).cloned().collect();
        // Of two equally severe ones, the hold on all mail comes first.
        holds.sort_by(|a, b| b.kind.cmp(&a.kind).then(a.sender.cmp(&b.sender)));
        ProviderState {
            id: provider.id().to_owned(),
            purposes: plugins.routes().purposes(provider.id()),
            holds,
        }
    });
    Ok(states.collect())
}
