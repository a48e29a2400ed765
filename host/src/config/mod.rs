//! The host's settings. They are read through a lookup function, so that tests pass a map instead of
//! environment variables. All problems are collected and reported together.

mod access;
mod aliases;
mod backfill;
mod brand;
mod engine;
mod links;
mod plugins;
mod policy;
mod problem;
mod providers;
mod public;
mod reader;
mod retention;
mod secret;
mod sender;
mod shared;
mod started;
mod table;
mod texts;
mod traces;
mod tracking;
mod unknown;
mod variable;

pub use access::Access;
pub use aliases::Aliases;
pub use backfill::Backfill;
pub use links::LinkHosts;
pub use plugins::{plugin_settings, read_plugins};
pub use policy::Policy;
pub use problem::Problem;
pub use retention::Retention;
pub use shared::Grant;
pub use started::PluginSettings;
pub use table::{TABLE, markdown};
pub use texts::{ListTexts, Texts};
pub use traces::{Sampler, Traces};
pub use tracking::Tracking;
pub use unknown::unknown;
pub use variable::Variable;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use hogsend_mime::NameAddr;
use hogsend_render::Brand;
use secrecy::SecretString;

use crate::purpose::ByPurpose;
use reader::Reader;

/// Reads an environment variable.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The purpose of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// API and worker in one process.
    Dev,
    Api,
    Worker,
    /// Only opens the database.
    Migrate,
    /// Only opens the plugins.
    Plugins,
    /// Shows the runs of a database and changes them.
    Command,
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    /// `info`, and a line for each request.
    Http,
    Debug,
}

impl LogLevel {
    fn read(reader: &mut Reader<'_>) -> Self {
        match reader.text("LOG_LEVEL").as_str() {
            "error" => Self::Error,
            "warn" => Self::Warn,
            "info" => Self::Info,
            "http" => Self::Http,
            "debug" => Self::Debug,
            other => {
                let message = format!("is '{other}': use error, warn, info, http or debug");
                reader.problem("LOG_LEVEL", message);
                Self::Info
            }
        }
    }
}

#[derive(Debug)]
pub struct Config {
    pub mode: Mode,
    pub production: bool,
    /// `None` means every address of the machine.
    pub host: Option<IpAddr>,
    pub port: u16,
    /// The separate port for health checks.
    pub health_port: Option<u16>,
    /// What Prometheus sends for the API's metrics; None where only other ports have them.
    pub metrics_token: Option<SecretString>,
    /// The separate port for the API's metrics.
    pub metrics_port: Option<u16>,
    /// Where traces go, if anywhere.
    pub traces: Option<Traces>,
    pub log_level: LogLevel,
    pub database_url: Option<SecretString>,
    /// `None` if it is switched off.
    pub redis_url: Option<String>,
    /// Without a slash at its end.
    pub api_public_url: String,
    /// Signs links and sessions.
    pub secret: SecretString,
    /// Former secrets. They sign nothing, but what they signed or hashed is still recognised.
    pub previous_secrets: Vec<SecretString>,
    pub admin_api_key: Option<SecretString>,
    /// Whether `admin_api_key` is the one `hogsend dev` made for itself.
    pub development_key: bool,
    /// The senders that the operator chose; see [`PluginSettings::senders`]. Empty where none is.
    pub senders: ByPurpose<String>,
    pub postal_address: String,
    /// The product that mails and pages show.
    pub brand: Brand,
    /// What the pages for recipients say.
    pub texts: Texts,
    pub policy: Policy,
    /// How many contacts may enter a journey within ten minutes at least; None without a spike guard.
    pub spike_floor: Option<i64>,
    pub access: Access,
    pub tracking: Tracking,
    pub retention: Retention,
    pub backfill: Backfill,
    /// Hosts that links from untrusted events may lead to.
    pub link_hosts: LinkHosts,
    /// Event sources that are trusted, whatever their plugins say.
    pub trusted_sources: Vec<String>,
    /// Aliases of event names.
    pub aliases: Aliases,
    /// `None` means all.
    pub enabled_journeys: Option<Vec<String>>,
    /// Settings that plugins may read though they are not their own.
    pub shared_settings: Vec<Grant>,
    /// In order of preference. Empty where the operator named none.
    pub email_providers: ByPurpose<Vec<String>>,
    pub plugin_dir: Option<PathBuf>,
    /// Folder with files that describe event sources.
    pub webhook_dir: Option<PathBuf>,
    /// Templates that replace those of the plugins.
    pub template_dir: Option<PathBuf>,
    pub data_dir: PathBuf,
    pub skip_schema_check: bool,
    /// How long a worker without a sign of life keeps its claims.
    pub lease: Duration,
    /// Connections to Postgres, in each process; it also limits how many runs advance in parallel.
    pub database_pool_size: usize,
    /// How to reach the engine of the workers, where it is outside the database.
    pub engine: Option<hogsend_hatchet::Settings>,
    /// Messages for the operator that are no problems.
    pub warnings: Vec<String>,
    /// How long an attempt to deliver a mail may take, unless its plugin asks for more.
    pub attempt: Duration,
}

impl Config {
    /// Reads the host's own settings.
    ///
    /// # Errors
    /// Every problem with them.
    pub fn load(lookup: Lookup<'_>, mode: Mode) -> Result<Self, Vec<Problem>> {
        match Self::read(lookup, mode) {
            (config, problems) if problems.is_empty() => Ok(config),
            (_, problems) => Err(problems),
        }
    }

    /// Reads the host's own settings and reports every problem with them. If there is one, the settings
    /// may only be used to look for further problems.
    pub fn read(lookup: Lookup<'_>, mode: Mode) -> (Self, Vec<Problem>) {
        let (mut reader, production) = Reader::new(lookup, mode);
        // A shorter lease would take a pause of the machine or the database for a dead worker.
        let least_lease = if production { 20 } else { 1 };
        let reader = &mut reader;
        let host = reader.parsed(
            "HOST",
            address,
            "an address of this machine, for example 0.0.0.0 or ::1",
        );
        let host = host.or(match mode {
            // Development has open endpoints, so only this machine may reach them.
            Mode::Dev => Some(IpAddr::from([127, 0, 0, 1])),
            _ => None,
        });
        let port = reader.number("PORT", 1, 65_535) as u16;
        let api_public_url = public::api_url(reader, port);
        let all_journeys = reader.text("ENABLED_JOURNEYS") == "*";
        let config = Self {
            mode,
            production,
            host,
            port,
            log_level: LogLevel::read(reader),
            database_url: database_url(reader, mode),
            health_port: access::health_port(reader, port),
            metrics_token: secret::read(reader, &secret::METRICS_TOKEN).map(SecretString::from),
            metrics_port: access::metrics_port(reader, port),
            traces: traces::read(reader, mode),
            redis_url: access::redis_url(reader, production),
            access: Access::read(reader, &api_public_url),
            link_hosts: LinkHosts::read(reader, &api_public_url),
            api_public_url,
            secret: secret::read(reader, &secret::SIGNING)
                .unwrap_or_default()
                .into(),
            previous_secrets: secret::read_previous(reader),
            admin_api_key: secret::read(reader, &secret::ADMIN_KEY).map(SecretString::from),
            development_key: false,
            senders: ByPurpose {
                lifecycle: sender::read(reader, sender::FROM),
                transactional: sender::read(reader, sender::FROM_TRANSACTIONAL),
            },
            postal_address: reader.text("EMAIL_POSTAL_ADDRESS"),
            brand: brand::read(reader),
            texts: Texts::read(reader),
            policy: Policy::read(reader),
            spike_floor: policy::spike_floor(reader, production),
            tracking: Tracking::read(reader),
            retention: Retention::read(reader),
            backfill: Backfill::read(reader),
            trusted_sources: reader.words("TRUSTED_SOURCES"),
            aliases: Aliases::read(reader),
            enabled_journeys: (!all_journeys).then(|| reader.words("ENABLED_JOURNEYS")),
            shared_settings: shared::read(reader),
            email_providers: ByPurpose {
                lifecycle: reader.words(providers::PROVIDER),
                transactional: reader.words(providers::PROVIDER_TRANSACTIONAL),
            },
            plugin_dir: reader.unquoted("PLUGIN_DIR").map(PathBuf::from),
            webhook_dir: reader.unquoted("WEBHOOK_DIR").map(PathBuf::from),
            template_dir: reader.unquoted("TEMPLATE_DIR").map(PathBuf::from),
            data_dir: PathBuf::from(reader.text("HOGSEND_DATA_DIR")),
            skip_schema_check: reader.flag("SKIP_SCHEMA_CHECK"),
            lease: Duration::from_secs(reader.number("WORKER_LEASE_SECONDS", least_lease, 3_600)),
            database_pool_size: usize::try_from(reader.number("DATABASE_POOL_SIZE", 4, 500))
                .unwrap_or(16),
            engine: engine::read(reader),
            warnings: std::mem::take(&mut reader.warnings),
            attempt: Duration::from_secs(reader.number("EMAIL_ATTEMPT_SECONDS", 1, 1_800)),
        };
        (config, std::mem::take(&mut reader.problems))
    }

    /// The name of the sender, if the operator chose one.
    pub fn sender_name(&self) -> String {
        let own = Some(self.senders.lifecycle.as_str()).filter(|from| *from != sender::DEVELOPMENT);
        let own = own.and_then(|from| from.parse::<NameAddr>().ok());
        own.and_then(|from| from.name).unwrap_or_default()
    }

    /// Whether the rules for production hold: this process may mail people.
    pub fn strict(&self) -> bool {
        self.production && self.mode.runs()
    }
}

fn database_url(reader: &mut Reader<'_>, mode: Mode) -> Option<SecretString> {
    let url = reader.required("DATABASE_URL");
    match &url {
        Some(text) if !text.starts_with("postgres://") && !text.starts_with("postgresql://") => {
            reader.problem(
                "DATABASE_URL",
                "is not a Postgres URL: postgres://user:password@host:5432/database",
            );
        }
        None if !reader.strict && mode.needs_database() => {
            reader.problem(
                "DATABASE_URL",
                "is required: the api and the worker share a Postgres. `hogsend dev` runs both \
                 with a database of its own",
            );
        }
        _ => {}
    }
    url.map(SecretString::from)
}

/// An address to listen at.
fn address(text: &str) -> Option<IpAddr> {
    match text {
        "localhost" => Some(IpAddr::from([127, 0, 0, 1])),
        text => text
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse()
            .ok(),
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
                "PORT",
                "API_PUBLIC_URL",
                "LOG_LEVEL",
                "DATABASE_URL",
                "REDIS_URL",
                "BETTER_AUTH_SECRET",
            ]
        );
        assert!(!problems.join(" ").contains("hunter2"));
    }

    #[test]
    fn an_unknown_environment_is_read_as_production() {
        let problems = load(Mode::Api, &[("NODE_ENV", "prod")]).unwrap_err();
        let all = problems.join("\n");
        for name in ["NODE_ENV", "API_PUBLIC_URL", "BETTER_AUTH_SECRET"] {
            assert!(all.contains(name), "{all}");
        }
    }

    #[test]
    fn development_listens_on_this_machine_only_unless_host_is_set() {
        let host = |mode, pairs: &[(&str, &str)]| {
            let (config, problems) = Config::read(
                &|name: &str| {
                    let found = pairs.iter().find(|(key, _)| *key == name);
                    found.map(|(_, value)| (*value).to_owned())
                },
                mode,
            );
            let wrong = problems.iter().any(|problem| problem.name == "HOST");
            (config.host.map(|host| host.to_string()), wrong)
        };
        let some = |text: &str| (Some(text.to_owned()), false);
        assert_eq!(host(Mode::Dev, &[]), some("127.0.0.1"));
        assert_eq!(host(Mode::Dev, &[("HOST", "0.0.0.0")]), some("0.0.0.0"));
        assert_eq!(host(Mode::Api, &[]), (None, false));
        assert_eq!(host(Mode::Api, &[("HOST", "[::1]")]), some("::1"));
        assert!(host(Mode::Api, &[("HOST", "here")]).1);
    }

    #[test]
    fn api_and_worker_need_a_shared_database() {
        let problems = load(Mode::Worker, &[]).unwrap_err();
        assert_eq!(problems.len(), 1);
        assert!(problems[0].contains("`hogsend dev`"));
    }
}
