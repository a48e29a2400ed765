//! The servers for the tests: private ones, or those set in the environment.

mod account;
mod postgres;
mod programs;
mod redis;
mod server;
mod smtp;

pub use postgres::{Disk, Postgres};
pub use server::pause;

use programs::Wanted;
use server::Server;

/// The servers. Dropping it stops those it started.
pub struct Servers {
    pub database_url: String,
    pub redis_url: String,
    /// The ports and files of the SMTP server, as JSON.
    pub smtp: String,
    running: Vec<Server>,
}

impl Servers {
    /// `disk` has no effect on a database that is set in the environment.
    pub fn start(disk: Disk) -> anyhow::Result<Self> {
        let given_database = given("HOGSEND_TEST_DATABASE_URL");
        let given_redis = given("HOGSEND_TEST_REDIS_URL");
        let given_smtp = given("HOGSEND_TEST_SMTP");
        let programs = programs::find(Wanted {
            postgres: given_database.is_none(),
            redis: given_redis.is_none(),
            smtp: given_smtp.is_none(),
        })?;
        let mut running = Vec::new();
        let database_url = match (given_database, programs.postgres) {
            (None, Some(folder)) => {
                let (server, url) = postgres::start(&folder, disk)?;
                running.push(server);
                url
            }
            (given, _) => given.unwrap_or_default(),
        };
        let redis_url = match (given_redis, programs.redis) {
            (None, Some(program)) => {
                let (server, url) = redis::start(&program)?;
                running.push(server);
                url
            }
            (given, _) => given.unwrap_or_default(),
        };
        let smtp = match (given_smtp, programs.smtp) {
            (None, Some(mailer)) => {
                let (server, place) = smtp::start(&mailer)?;
                running.push(server);
                place
            }
            (given, _) => given.unwrap_or_default(),
        };
        Ok(Self {
            database_url,
            redis_url,
            smtp,
            running,
        })
    }

    /// Fails where a server has ended unexpectedly.
    pub fn still_there(&mut self) -> anyhow::Result<()> {
        self.running.iter_mut().try_for_each(Server::still_there)
    }
}

/// A server set in the environment; an empty value counts as unset.
fn given(variable: &str) -> Option<String> {
    std::env::var(variable).ok().filter(|url| !url.is_empty())
}
