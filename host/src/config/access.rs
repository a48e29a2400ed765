//! Settings of sessions, proxies, networks and rate limits.

use ipnet::IpNet;

use super::public;
use super::reader::Reader;

/// Settings of sessions, proxies and limits.
#[derive(Clone, Debug)]
pub struct Access {
    /// Where browsers reach the sessions; with https, session cookies are Secure.
    pub auth_url: String,
    /// Origins whose pages may change data with a session: `https://host:port`, in lower case.
    pub trusted_origins: Vec<String>,
    /// Proxies whose `X-Forwarded-For` is trusted.
    pub trusted_proxies: Vec<IpNet>,
    /// Networks that webhooks and alerts may reach besides the public internet.
    pub webhook_networks: Vec<IpNet>,
    /// Requests within 60 s for each key or user; `None` means unlimited.
    pub admin_limit: Option<u32>,
    pub emails_limit: Option<u32>,
    pub events_limit: Option<u32>,
    /// The most open connections.
    pub connections: usize,
    /// The most memory for the bodies of all requests together, in bytes.
    pub request_memory: usize,
}

impl Access {
    pub(super) fn read(reader: &mut Reader<'_>, api_public_url: &str) -> Self {
        let auth_url = public::auth_url(reader, api_public_url);
        let mut trusted_origins: Vec<String> = [&auth_url, api_public_url]
            .into_iter()
            .filter_map(origin)
            .collect();
        trusted_origins.extend(reader.list(
            "TRUSTED_ORIGINS",
            origin,
            "a comma-separated list of origins, for example https://admin.example.com",
        ));
        let mut seen = std::collections::HashSet::new();
        trusted_origins.retain(|origin| seen.insert(origin.clone()));
        Self {
            auth_url,
            trusted_origins,
            trusted_proxies: reader.list(
                "TRUSTED_PROXIES",
                network,
                "a comma-separated list of networks or addresses, for example 10.0.0.0/8",
            ),
            webhook_networks: reader.list(
                "WEBHOOK_ALLOWED_NETWORKS",
                network,
                "a comma-separated list of networks or addresses, for example 10.0.0.0/8",
            ),
            admin_limit: limit(reader, "RATE_LIMIT_ADMIN"),
            emails_limit: limit(reader, "RATE_LIMIT_EMAILS"),
            events_limit: limit(reader, "RATE_LIMIT_EVENTS"),
            connections: size(reader, "HTTP_CONNECTIONS", 16, 1_000_000),
            request_memory: size(reader, "REQUEST_MEMORY_MB", 16, 16_384) * 1024 * 1024,
        }
    }

    /// Whether sessions are used over https.
    pub fn https(&self) -> bool {
        self.auth_url.to_ascii_lowercase().starts_with("https://")
    }
}

fn limit(reader: &mut Reader<'_>, name: &str) -> Option<u32> {
    let number = reader.number(name, 0, u64::from(u32::MAX));
    u32::try_from(number).ok().filter(|number| *number > 0)
}

fn size(reader: &mut Reader<'_>, name: &str, least: u64, most: u64) -> usize {
    usize::try_from(reader.number(name, least, most)).unwrap_or(usize::MAX)
}

/// Redis, unless it is switched off: by `off`, or in development by leaving it unset.
pub(super) fn redis_url(reader: &mut Reader<'_>, production: bool) -> Option<String> {
    match reader.optional("REDIS_URL").as_deref() {
        None if production => Some("redis://localhost:6379".into()),
        None | Some("off") => None,
        Some(_) => Some(reader.url("REDIS_URL", &["redis", "rediss", "unix"])),
    }
}

/// A separate port for health checks.
pub(super) fn health_port(reader: &mut Reader<'_>, port: u16) -> Option<u16> {
    let own = other_port(reader, "HEALTH_PORT")?;
    if own == port {
        reader.problem("HEALTH_PORT", "is the same as PORT: use another");
    }
    Some(own)
}

/// A separate port for the API's metrics.
pub(super) fn metrics_port(reader: &mut Reader<'_>, port: u16) -> Option<u16> {
    let own = other_port(reader, "METRICS_PORT")?;
    let health = reader.optional("HEALTH_PORT");
    if own == port {
        reader.problem("METRICS_PORT", "is the same as PORT: use another");
    } else if health.is_some_and(|health| health == own.to_string()) {
        reader.problem(
            "METRICS_PORT",
            "is the same as HEALTH_PORT, which has the metrics too: remove it",
        );
    }
    Some(own)
}

fn other_port(reader: &mut Reader<'_>, name: &str) -> Option<u16> {
    let parse = |text: &str| text.parse().ok().filter(|port| *port > 0);
    reader.parsed(name, parse, "a port from 1 to 65535")
}

/// Scheme, host and port of a URL, as browsers write them in `Origin`.
fn origin(text: &str) -> Option<String> {
    let url = reqwest::Url::parse(text).ok()?;
    let origin = url.origin();
    (["http", "https"].contains(&url.scheme()) && origin.is_tuple())
        .then(|| origin.ascii_serialization())
}

fn network(text: &str) -> Option<IpNet> {
    let single = || {
        text.parse()
            .ok()
            .map(|address: std::net::IpAddr| address.into())
    };
    text.parse().ok().or_else(single)
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Mode};

    fn load(pairs: &[(&str, &str)]) -> Result<Config, Vec<String>> {
        let lookup = |name: &str| {
            let found = pairs.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Config::load(&lookup, Mode::Dev)
            .map_err(|all| all.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn origins_are_of_the_own_urls_and_the_list() {
        let config = load(&[
            ("BETTER_AUTH_URL", "https://Auth.example.com/path"),
            ("API_PUBLIC_URL", "https://api.example.com:443/"),
            (
                "TRUSTED_ORIGINS",
                "http://localhost:5173, https://x.example.com/",
            ),
        ]);
        let access = config.unwrap().access;
        assert!(access.https());
        assert_eq!(
            access.trusted_origins,
            [
                "https://auth.example.com",
                "https://api.example.com",
                "http://localhost:5173",
                "https://x.example.com",
            ]
        );
    }

    #[test]
    fn redis_is_off_where_nothing_is_set_in_development_or_somebody_says_so() {
        let redis = |pairs: &[(&str, &str)]| load(pairs).unwrap().redis_url;
        assert_eq!(redis(&[]), None);
        assert_eq!(redis(&[("REDIS_URL", "off")]), None);
        let url = "rediss://user:secret@cache.example.com:6380";
        assert_eq!(redis(&[("REDIS_URL", url)]).as_deref(), Some(url));
        let problems = load(&[("REDIS_URL", "http://x:secret@y")]).unwrap_err();
        assert!(!problems[0].contains("secret"), "{problems:?}");
        let problems = load(&[("HEALTH_PORT", "3002")]).unwrap_err();
        assert!(problems[0].contains("same as PORT"), "{problems:?}");
        for (port, wrong) in [
            ("3002", "same as PORT"),
            ("9", "same as HEALTH_PORT"),
            ("x", "use a port"),
        ] {
            let problems = load(&[("METRICS_PORT", port), ("HEALTH_PORT", "9")]).unwrap_err();
            assert!(problems[0].contains(wrong), "{problems:?}");
        }
    }

    #[test]
    fn proxies_are_networks_or_addresses_and_limits_may_be_off() {
        let config = load(&[
            ("TRUSTED_PROXIES", "10.0.0.0/8, ::1"),
            ("RATE_LIMIT_ADMIN", "0"),
        ]);
        let access = config.unwrap().access;
        assert_eq!(access.trusted_proxies.len(), 2);
        assert_eq!(access.admin_limit, None);
        assert_eq!((access.emails_limit, access.events_limit), (Some(30), None));
        let problems = load(&[("TRUSTED_PROXIES", "10/8"), ("TRUSTED_ORIGINS", "*")]).unwrap_err();
        assert_eq!(problems.len(), 2);
        assert!(
            problems[1].contains("for example 10.0.0.0/8"),
            "{problems:?}"
        );
    }
}
