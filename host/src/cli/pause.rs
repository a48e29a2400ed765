//! `hogsend pause` and `hogsend resume`.

use clap::Args;

use super::{Environment, start};
use crate::audit::Actor;
use crate::clock::Clock;
use crate::db::{self, Db};
use crate::pauses::{self, Scope};

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
        scope.resume_command()
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

pub async fn resume(environment: &Environment, covered: Covered) -> anyhow::Result<()> {
    let (db, _) = start::open(environment).await?;
    let scope = covered.scope();
    let now = Clock::system().now();
    let ended = pauses::resume(&db, &Actor::Command, &scope, now).await;
    let left = match &ended {
        Ok(_) => still_paused(&db).await,
        Err(_) => Ok(Vec::new()),
    };
    db.close().await;
    match ended? {
        Some(pause) => println!(
            "{} was paused since {}, it goes on",
            scope.words(),
            pause.since.format("%F %T UTC")
        ),
        None => println!("{} was not paused", scope.words()),
    }
    let left = left?;
    if !left.is_empty() {
        println!("still paused: {}", left.join(", "));
    }
    Ok(())
}

async fn still_paused(db: &Db) -> db::Result<Vec<String>> {
    let mut conn = db.conn().await?;
    let pauses = pauses::Pauses::load(&mut conn, Clock::system().now()).await?;
    let names = pauses.lasting().map(|pause| Scope::from(pause).to_string());
    Ok(names.collect())
}
