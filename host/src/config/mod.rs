//! Settings: a function of a lookup, so tests pass a map and nobody sets variables.
//!
//! Everything is read, every problem is collected, and all are reported together.

mod access;
mod plugins;
mod policy;
mod table;
mod tracking;

pub use access::Access;
pub use plugins::{PluginSettings, plugin_settings};
pub use policy::Policy;
pub use table::{TABLE, Variable};
pub use tracking::Tracking;

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

/// Reads an environment variable.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What the process is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// API and worker in one process.
    Dev,
    Api,
    Worker,
    /// Only looks at the database.
    Migrate,
    /// Only looks at the plugins.
    Plugins,
}

impl Mode {
    fn needs_secret(self) -> bool {
        matches!(self, Self::Dev | Self::Api | Self::Worker)
    }

    fn needs_database(self) -> bool {
        matches!(self, Self::Api | Self::Worker | Self::Migrate)
    }

    /// Whether the process serves requests or sends mail.
    pub fn runs(self) -> bool {
        self.needs_secret()
    }
}

/// One setting that is missing or wrong, with its mend. Never holds a value that is secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub name: String,
    pub message: String,
}

impl Problem {
    pub(crate) fn new(name: &str, message: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            message: message.into(),
        }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.name, self.message)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    /// `info`, and a line for each request.
    Http,
    Debug,
}

#[derive(Debug)]
pub struct Config {
    pub production: bool,
    pub port: u16,
    pub log_level: LogLevel,
    pub database_url: Option<SecretString>,
    pub redis_url: String,
    pub api_public_url: String,
    /// Signs links and sessions.
    pub secret: SecretString,
    pub admin_api_key: Option<SecretString>,
    pub from_email: String,
    pub postal_address: String,
    pub policy: Policy,
    pub access: Access,
    pub tracking: Tracking,
    /// `None` stands for all.
    pub enabled_journeys: Option<Vec<String>>,
    /// In the order they are asked.
    pub email_providers: Vec<String>,
    pub plugin_dir: Option<PathBuf>,
    pub data_dir: PathBuf,
    pub skip_schema_check: bool,
    /// How long a worker that fell silent keeps what it claimed.
    pub lease: Duration,
}

impl Config {
    /// Reads the host's own settings.
    pub fn load(lookup: Lookup<'_>, mode: Mode) -> Result<Self, Vec<Problem>> {
        let mut reader = Reader {
            lookup,
            problems: Vec::new(),
        };
        let environment = reader.text("NODE_ENV");
        if !["development", "production", "test"].contains(&environment.as_str()) {
            reader.problem(
                "NODE_ENV",
                format!("is '{environment}': use development or production"),
            );
        }
        let production = environment == "production";
        let database_url = reader.optional("DATABASE_URL");
        match &database_url {
            Some(url) if !url.starts_with("postgres://") && !url.starts_with("postgresql://") => {
                reader.problem(
                    "DATABASE_URL",
                    "is not a Postgres URL: postgres://user:password@host:5432/database",
                );
            }
            None if production && mode.runs() => {
                reader.problem(
                    "DATABASE_URL",
                    "is required in production: the URL of a Postgres",
                );
            }
            None if mode.needs_database() => {
                reader.problem("DATABASE_URL", "is required: the api and the worker share a Postgres. `hogsend dev` runs both with a database of its own");
            }
            _ => {}
        }
        let data_dir = PathBuf::from(reader.text("HOGSEND_DATA_DIR"));
        let secret = reader.optional("BETTER_AUTH_SECRET");
        match &secret {
            None if production && mode.needs_secret() => {
                reader.problem("BETTER_AUTH_SECRET", "is required in production: at least 32 random characters, for instance from `openssl rand -base64 32`");
            }
            Some(secret) if production && secret.chars().count() < 32 => {
                reader.problem(
                    "BETTER_AUTH_SECRET",
                    "is shorter than 32 characters: make one with `openssl rand -base64 32`",
                );
            }
            _ => {}
        }
        let log_level = match reader.text("LOG_LEVEL").as_str() {
            "error" => LogLevel::Error,
            "warn" => LogLevel::Warn,
            "info" => LogLevel::Info,
            "http" => LogLevel::Http,
            "debug" => LogLevel::Debug,
            other => {
                reader.problem(
                    "LOG_LEVEL",
                    format!("is '{other}': use error, warn, info, http or debug"),
                );
                LogLevel::Info
            }
        };
        let port = reader.number("PORT", 1, 65_535) as u16;
        let all_journeys = reader.text("ENABLED_JOURNEYS") == "*";
        let enabled_journeys = (!all_journeys).then(|| reader.words("ENABLED_JOURNEYS"));
        let api_public_url = reader.public_url(production, port);
        let config = Self {
            production,
            port,
            log_level,
            database_url: database_url.map(SecretString::from),
            redis_url: reader.url("REDIS_URL", &["redis", "rediss", "unix"]),
            access: Access::read(&mut reader, &api_public_url),
            api_public_url,
            secret: SecretString::from(secret.unwrap_or_default()),
            admin_api_key: reader.optional("ADMIN_API_KEY").map(SecretString::from),
            from_email: reader.text("EMAIL_FROM"),
            postal_address: reader.text("EMAIL_POSTAL_ADDRESS"),
            policy: Policy::read(&mut reader),
            tracking: Tracking::read(&mut reader),
            enabled_journeys,
            email_providers: reader.words("EMAIL_PROVIDER"),
            plugin_dir: reader.optional("PLUGIN_DIR").map(PathBuf::from),
            data_dir,
            skip_schema_check: reader.flag("SKIP_SCHEMA_CHECK"),
            lease: Duration::from_secs(reader.number("WORKER_LEASE_SECONDS", 1, 3_600)),
        };
        if reader.problems.is_empty() {
            Ok(config)
        } else {
            Err(reader.problems)
        }
    }
}

struct Reader<'a> {
    lookup: Lookup<'a>,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn problem(&mut self, name: &str, message: impl Into<String>) {
        self.problems.push(Problem::new(name, message));
    }

    /// An empty value counts as unset.
    fn optional(&self, name: &str) -> Option<String> {
        let value = (self.lookup)(name)?;
        let value = value.trim();
        (!value.is_empty()).then(|| value.to_owned())
    }

    fn text(&self, name: &str) -> String {
        self.optional(name)
            .unwrap_or_else(|| table::default_of(name).to_owned())
    }

    /// `None` where it is not set, or where it is no such thing, which is a problem.
    fn parsed<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Option<T>,
        form: &str,
    ) -> Option<T> {
        let text = self.optional(name)?;
        let parsed = parse(&text);
        if parsed.is_none() {
            self.problem(name, format!("is '{text}': use {form}"));
        }
        parsed
    }

    /// A comma-separated list; what is wrong in it is a problem.
    fn list<T>(&mut self, name: &str, parse: impl Fn(&str) -> Option<T>, form: &str) -> Vec<T> {
        let mut all = Vec::new();
        for part in self.words(name) {
            match parse(&part) {
                Some(value) => all.push(value),
                None => self.problem(name, format!("has '{part}': use {form}")),
            }
        }
        all
    }

    /// What stands between commas.
    fn words(&self, name: &str) -> Vec<String> {
        let text = self.text(name);
        let parts = text.split(',').map(|part| part.trim().to_owned());
        parts.filter(|part| !part.is_empty()).collect()
    }

    fn flag(&mut self, name: &str) -> bool {
        match self.text(name).as_str() {
            "" | "false" | "0" => false,
            "true" | "1" => true,
            other => {
                let message = format!("is '{other}': use true or false");
                self.problem(name, message);
                false
            }
        }
    }

    fn number(&mut self, name: &str, least: u64, most: u64) -> u64 {
        let text = self.text(name);
        match text.parse() {
            Ok(number) if (least..=most).contains(&number) => number,
            _ => {
                self.problem(
                    name,
                    format!("is '{text}': use a whole number from {least} to {most}"),
                );
                least
            }
        }
    }

    /// In development links lead to the port this process listens on.
    fn public_url(&mut self, production: bool, port: u16) -> String {
        match self.optional("API_PUBLIC_URL") {
            None if !production => format!("http://localhost:{port}"),
            _ => self.url("API_PUBLIC_URL", &["http", "https"]),
        }
    }

    fn url(&mut self, name: &str, schemes: &[&str]) -> String {
        let text = self.text(name);
        let sound = reqwest::Url::parse(&text).is_ok_and(|url| schemes.contains(&url.scheme()));
        if !sound {
            // Not the value: a URL may hold a password.
            let form = schemes
                .iter()
                .map(|scheme| format!("{scheme}://…"))
                .collect::<Vec<_>>();
            self.problem(
                name,
                format!("is not a URL of the form {}", form.join(" or ")),
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::{Config, Mode};

    fn load(mode: Mode, pairs: &[(&str, &str)]) -> Result<Config, Vec<String>> {
        let lookup = |name: &str| {
            let found = pairs.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Config::load(&lookup, mode).map_err(|all| all.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn nothing_set_is_enough_for_dev() {
        let config = load(Mode::Dev, &[("PORT", ""), ("DATABASE_URL", " ")]).unwrap();
        assert_eq!(config.port, 3002);
        assert!(!config.production);
        assert!(config.enabled_journeys.is_none());
    }

    #[test]
    fn all_problems_are_reported_together_and_no_secret_is_shown() {
        let problems = load(
            Mode::Api,
            &[
                ("NODE_ENV", "production"),
                ("PORT", "99999"),
                ("LOG_LEVEL", "loud"),
                ("REDIS_URL", "http://user:hunter2@x"),
                ("BETTER_AUTH_SECRET", "short-hunter2"),
            ],
        )
        .unwrap_err();
        let names: Vec<_> = problems
            .iter()
            .map(|text| text.split(' ').next().unwrap())
            .collect();
        assert_eq!(
            names,
            [
                "DATABASE_URL",
                "BETTER_AUTH_SECRET",
                "LOG_LEVEL",
                "PORT",
                "REDIS_URL"
            ]
        );
        assert!(!problems.join(" ").contains("hunter2"));
    }

    #[test]
    fn api_and_worker_need_a_shared_database() {
        let problems = load(Mode::Worker, &[]).unwrap_err();
        assert_eq!(problems.len(), 1);
        assert!(problems[0].contains("`hogsend dev`"));
    }
}
