//! `hogsend admin …`: managing administrators.

use std::io::{IsTerminal as _, Write as _};

use anyhow::Context;
use clap::Subcommand;

use super::{Environment, start};
use crate::accounts::{self, NewAccount, Passwords};
use crate::audit::Actor;
use crate::clock::Clock;
use crate::db::{self, Db};

#[derive(Subcommand)]
pub enum AdminCommand {
    /// Create an administrator; the password is asked for, or read from standard input
    Create {
        /// The address to sign in with
        #[arg(long)]
        email: String,
        /// The administrator's name; by default the part of the address before the @
        #[arg(long)]
        name: Option<String>,
    },
    /// List the administrators
    List,
    /// Remove an administrator and end all their sessions
    Remove {
        /// The address they sign in with
        #[arg(long)]
        email: String,
    },
    /// Change the password of an administrator and end all their sessions
    SetPassword {
        /// The address they sign in with
        #[arg(long)]
        email: String,
    },
}

pub async fn run(environment: &Environment, command: AdminCommand) -> anyhow::Result<()> {
    let (db, _) = start::open(environment).await?;
    let done = perform(&db, command).await;
    db.close().await;
    done
}

async fn perform(db: &Db, command: AdminCommand) -> anyhow::Result<()> {
    let passwords = Passwords::default();
    let by = &Actor::Command;
    let now = Clock::system().now();
    match command {
        AdminCommand::Create { email, name } => {
            let usual = || email.split('@').next().unwrap_or_default().to_owned();
            let account = NewAccount {
                name: name.clone().unwrap_or_else(usual),
                email: email.clone(),
                password: new_password()?,
            };
            let user = accounts::create(db, &passwords, by, account, now)
                .await
                .with_context(|| format!("cannot make '{email}' an administrator"))?;
            println!("{} is now an administrator", user.email);
        }
        AdminCommand::List => {
            let users = db::users_list(&mut *db.conn().await?).await?;
            if users.is_empty() {
                println!(
                    "there is no administrator: create one with `hogsend admin create --email …`"
                );
            }
            let width = users.iter().map(|user| user.email.chars().count()).max();
            let width = width.unwrap_or_default();
            for user in &users {
                println!(
                    "{:<width$}  {}, since {}",
                    user.email,
                    user.name,
                    user.created_at.format("%F")
                );
            }
        }
        AdminCommand::Remove { email } => {
            let left = accounts::remove(db, by, &email, now)
                .await
                .with_context(|| format!("cannot remove '{email}'"))?;
            let left = left.with_context(|| unknown(&email))?;
            println!("{email} is no longer an administrator; all their sessions have ended");
            if left == 0 {
                println!(
                    "there is no other administrator: in development the next person to sign up becomes one, in \
                     production create one with `hogsend admin create`"
                );
            }
        }
        AdminCommand::SetPassword { email } => {
            let wanted = (&*email, new_password()?);
            let known = accounts::set_password(db, &passwords, by, wanted, now)
                .await
                .with_context(|| format!("cannot change the password of '{email}'"))?;
            anyhow::ensure!(
                known,
                "{}; create one with `hogsend admin create --email {email}`",
                unknown(&email)
            );
            println!("the password of {email} is changed; all their sessions have ended");
        }
    }
    Ok(())
}

fn unknown(email: &str) -> String {
    format!("there is no administrator '{email}': `hogsend admin list` lists them")
}

fn new_password() -> anyhow::Result<String> {
    let password = read_password()?;
    let characters = password.chars().count();
    anyhow::ensure!(
        (8..=128).contains(&characters),
        "the password has {characters} characters: use 8 to 128 characters"
    );
    Ok(password)
}

/// Asks at a terminal without echoing, or else reads the first line of standard input. Never takes it
/// from the arguments, which every process of the machine can see.
fn read_password() -> anyhow::Result<String> {
    if std::io::stdin().is_terminal() {
        eprint!("Password, 8 to 128 characters: ");
        std::io::stderr().flush()?;
        let password = rpassword::read_password().context("cannot read the password")?;
        eprint!("Repeat the password: ");
        std::io::stderr().flush()?;
        let again = rpassword::read_password().context("cannot read the password")?;
        anyhow::ensure!(password == again, "the two passwords differ");
        return Ok(password);
    }
    let mut line = String::new();
    std::io::stdin()
        .read_line(&mut line)
        .context("cannot read the password from standard input")?;
    let password = line.trim_end_matches(['\n', '\r']).to_owned();
    anyhow::ensure!(
        !password.is_empty(),
        "standard input has no password: type it at a terminal, or pipe it in"
    );
    Ok(password)
}
