//! `hogsend pause` and `hogsend resume`.

use clap::Args;

use super::{Environment, start};
use crate::audit::Actor;
use crate::clock::Clock;
use crate::db::{self, Db};
use crate::mail;
use crate::pauses::{self, Scope};
use crate::restore;
use crate::states::PauseCause;

/// What to pause or resume; everything if nothing is named.
#[derive(Args)]
#[group(multiple = false)]
pub struct Covered {
    /// The id of a journey: its runs, its mails, and entries into it
    #[arg(long)]
    journey: Option<String>,
    /// A category: its mails
    #[arg(long)]
    category: Option<String>,
}

#[derive(Args)]
pub struct Resume {
    #[command(flatten)]
    covered: Covered,
    /// Accept a database that was restored, copied or moved, and send what is still useful
    #[arg(long, conflicts_with = "Covered")]
    after_restore: bool,
    /// API_PUBLIC_URL of the workers from now on, instead of the one that a worker was started with
    #[arg(long, value_name = "URL", requires = "after_restore")]
    public_url: Option<String>,
    /// Only say what would be sent and skipped
    #[arg(long, requires = "after_restore")]
    dry_run: bool,
}

impl Covered {
    fn scope(self) -> Scope {
        match (self.journey, self.category) {
            (Some(id), _) => Scope::Journey(id),
            (None, Some(name)) => Scope::Category(name),
            (None, None) => Scope::Everything,
        }
    }
}

/// Pauses, without plugins, so that it also works where one of them prevents the start.
pub async fn pause(
    environment: &Environment,
    covered: Covered,
    reason: Option<&str>,
) -> anyhow::Result<()> {
    let (db, _) = start::open(environment).await?;
    let scope = covered.scope();
    let now = Clock::system().now();
    let made = pauses::pause(&db, &Actor::Command, &scope, reason, now).await;
    let said = match made {
        Ok(true) => report(&db, &scope).await,
        Ok(false) => Ok(format!("{} is paused already", scope.words())),
        Err(error) => Err(error.into()),
    };
    db.close().await;
    println!("{}", said?);
    Ok(())
}

async fn report(db: &Db, scope: &Scope) -> anyhow::Result<String> {
    let mut said = format!(
        "{} is paused: nothing of it is sent until `{}`",
        scope.words(),
        scope.resume_command(PauseCause::Operator)
    );
    let mut conn = db.conn().await?;
    let unknown = match scope {
        Scope::Everything => None,
        Scope::Journey(id) => (!db::journey_has_runs(&mut conn, id).await?).then(|| {
            format!(
                "no contact has entered a journey '{id}' yet: `hogsend journeys list` shows the ids"
            )
        }),
        Scope::Category(name) => (!db::category_has_mails(&mut conn, name).await?)
            .then(|| format!("there is no mail of a category '{name}' yet: check the spelling")),
    };
    if let Some(unknown) = unknown {
        said.push('\n');
        said.push_str(&unknown);
    }
    Ok(said)
}

pub async fn resume(environment: &Environment, wanted: Resume) -> anyhow::Result<()> {
    let (db, _) = start::open(environment).await?;
    let said = if wanted.after_restore {
        accept(&db, wanted.public_url.as_deref(), wanted.dry_run).await
    } else {
        end(&db, &wanted.covered.scope()).await
    };
    db.close().await;
    println!("{}", said?);
    Ok(())
}

async fn end(db: &Db, scope: &Scope) -> anyhow::Result<String> {
    let now = Clock::system().now();
    let ended = pauses::resume(db, &Actor::Command, scope, now).await?;
    let mut said = match ended {
        Some(pause) => {
            let reason = pause.reason.map(|reason| format!(" ({reason})"));
            format!(
                "{} was paused since {}{}, it goes on",
                scope.words(),
                pause.since.format("%F %T UTC"),
                reason.unwrap_or_default()
            )
        }
        None => format!("{} was not paused", scope.words()),
    };
    if matches!(scope, Scope::Journey(_)) {
        let until = now + pauses::QUIET;
        said += &format!(
            "\nthe spike guard leaves it alone until {}",
            until.format("%F %T UTC")
        );
    }
    let left = still_paused(db).await?;
    if !left.is_empty() {
        said += &format!("\nstill paused: {}", left.join(", "));
    }
    Ok(said)
}

async fn accept(db: &Db, url: Option<&str>, dry_run: bool) -> anyhow::Result<String> {
    let now = Clock::system().now();
    let plan = mail::plan(&mut *db.conn().await?, now).await?;
    if dry_run {
        return Ok(format!("`hogsend resume --after-restore`: {plan}"));
    }
    let accepted = restore::accept(db, &Actor::Command, url, now).await?;
    let pause = match accepted.pause {
        Some(pause) => format!(
            "nothing was sent since {}: {}",
            pause.since.format("%F %T UTC"),
            pause.reason.unwrap_or_default()
        ),
        None => "no worker had stopped because of this database".to_owned(),
    };
    let url = match accepted.public_url {
        Some(url) => format!("workers with API_PUBLIC_URL={url} send from now on"),
        None => "no worker in production has used this database yet".to_owned(),
    };
    Ok(format!("{pause}\nthe database is accepted: {plan}\n{url}"))
}

async fn still_paused(db: &Db) -> db::Result<Vec<String>> {
    let mut conn = db.conn().await?;
    let pauses = pauses::Pauses::load(&mut conn, Clock::system().now()).await?;
    let names = pauses.lasting().map(|pause| Scope::from(pause).to_string());
    Ok(names.collect())
}
