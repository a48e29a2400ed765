//! The public URLs of this installation.

use std::net::{IpAddr, Ipv6Addr};

use reqwest::Url;

use super::reader::Reader;
use super::variable::Rule;

/// The base URL of links in mails, without a trailing slash, its host in ASCII (RFC 5890 §2.3.2.1).
pub(super) fn api_url(reader: &mut Reader<'_>, port: u16) -> String {
    const NAME: &str = "API_PUBLIC_URL";
    let fallback = format!("http://localhost:{port}");
    let text = reader.required(NAME);
    text.and_then(|text| base(reader, NAME, &text))
        .unwrap_or(fallback)
}

/// Where browsers reach the sessions: by default the URL of the API.
pub(super) fn auth_url(reader: &mut Reader<'_>, api_public_url: &str) -> String {
    const NAME: &str = "BETTER_AUTH_URL";
    let own = reader.optional(NAME);
    own.and_then(|text| base(reader, NAME, &text))
        .unwrap_or_else(|| api_public_url.to_owned())
}

/// A base URL, which in production is https at a host that others reach.
fn base(reader: &mut Reader<'_>, name: &str, text: &str) -> Option<String> {
    let url = Url::parse(text)
        .ok()
        .filter(|url| ["http", "https"].contains(&url.scheme()) && url.has_host());
    let Some(url) = url else {
        // Not the value: a URL may contain a password.
        reader.problem(
            name,
            "is not a URL of the form https://…: for example https://api.example.com",
        );
        return None;
    };
    let extra = !url.username().is_empty()
        || url.password().is_some()
        || url.query().is_some()
        || url.fragment().is_some();
    if extra {
        reader.problem(
            name,
            "has a user name, a query or a fragment, which a base URL cannot have: use \
             https://host, with a path where the API has one",
        );
        return None;
    }
    if reader.asks(name, Rule::Https) && url.scheme() != "https" {
        reader.problem(
            name,
            "begins with http://, which is refused in production: links and session cookies would \
             travel unencrypted. Use https://…",
        );
    }
    if reader.asks(name, Rule::NoLoopback) && is_loopback(&url) {
        reader.problem(
            name,
            format!(
                "names '{}', which is a recipient's own machine: use the address at which others \
                 reach the API",
                url.host_str().unwrap_or_default()
            ),
        );
    }
    Some(url.as_str().trim_end_matches('/').to_owned())
}

/// Whether the host of a URL is a loopback or unspecified address (RFC 6761 §6.3, RFC 1122 §3.2.1.3,
/// RFC 4291 §2.5).
fn is_loopback(url: &Url) -> bool {
    let Some(host) = url.host_str() else {
        return true;
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let address = host.parse::<IpAddr>().map(|address| match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    });
    match address {
        Ok(address) => {
            address.is_loopback() || address.is_unspecified() || address == Ipv6Addr::LOCALHOST
        }
        Err(_) => {
            let host = host.trim_end_matches('.');
            host == "localhost"
                || host.ends_with(".localhost")
                || host == "localhost.localdomain"
                || host == "host.docker.internal"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Mode};

    fn urls(pairs: &[(&str, &str)], mode: Mode) -> (Config, Vec<String>) {
        let lookup = |name: &str| {
            let found = pairs.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let (config, problems) = Config::read(&lookup, mode);
        let about = |name: &&str| ["API_PUBLIC_URL", "BETTER_AUTH_URL"].contains(name);
        let problems = problems
            .iter()
            .filter(|problem| about(&problem.name.as_str()));
        (config, problems.map(ToString::to_string).collect())
    }

    #[test]
    fn production_refuses_addresses_that_lead_readers_nowhere() {
        for wrong in [
            "",
            "http://api.acme.com",
            "https://localhost",
            "https://api.localhost:3002",
            "https://LOCALHOST.",
            "https://127.0.0.1",
            "https://127.1.2.3",
            "https://2130706433",
            "https://0.0.0.0",
            "https://[::1]:3002",
            "https://[::ffff:127.0.0.1]",
            "https://[::]",
            "api.acme.com",
            "ftp://api.acme.com",
            "https://user:hush@api.acme.com",
            "https://api.acme.com/?a=b",
            "https://api.acme.com/#top",
            "\"https://api.acme.com\"",
        ] {
            let pairs = [("NODE_ENV", "production"), ("API_PUBLIC_URL", wrong)];
            let (_, problems) = urls(&pairs, Mode::Api);
            assert!(!problems.is_empty(), "'{wrong}' passes");
            assert!(!problems[0].contains("hush"), "{problems:?}");
        }
    }

    #[test]
    fn the_address_of_sessions_is_that_of_the_api_unless_it_is_named() {
        let pairs = [
            ("NODE_ENV", "production"),
            ("API_PUBLIC_URL", "https://api.acme.com/"),
        ];
        let (config, problems) = urls(&pairs, Mode::Api);
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(config.api_public_url, "https://api.acme.com");
        assert_eq!(config.access.auth_url, "https://api.acme.com");
        assert!(config.access.https());
        assert_eq!(config.access.trusted_origins, ["https://api.acme.com"]);

        let auth = [pairs[0], pairs[1], ("BETTER_AUTH_URL", "http://acme.com")];
        let (_, problems) = urls(&auth, Mode::Api);
        assert!(
            problems[0].starts_with("BETTER_AUTH_URL begins"),
            "{problems:?}"
        );
    }

    #[test]
    fn hosts_are_written_in_ascii_and_paths_kept() {
        let pairs = [("API_PUBLIC_URL", "https://Büro.example/hogsend/")];
        let (config, problems) = urls(&pairs, Mode::Dev);
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(config.api_public_url, "https://xn--bro-hoa.example/hogsend");
    }

    #[test]
    fn development_leads_to_the_port_it_listens_on() {
        let (config, problems) = urls(&[("PORT", "4000")], Mode::Dev);
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(config.api_public_url, "http://localhost:4000");
        assert_eq!(config.access.auth_url, "http://localhost:4000");
    }
}
