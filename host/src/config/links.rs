//! The allowed hosts of links in mails that come from untrusted events.

use reqwest::Url;

use super::reader::Reader;

/// Host names in lower case, from `LINK_HOSTS`; by default those of `BRAND_URL` and
/// `API_PUBLIC_URL`.
#[derive(Clone, Debug, Default)]
pub struct LinkHosts(Vec<String>);

impl LinkHosts {
    pub(super) fn read(reader: &mut Reader<'_>, api_public_url: &str) -> Self {
        const NAME: &str = "LINK_HOSTS";
        if reader.optional(NAME).is_some() {
            return Self(reader.list(
                NAME,
                host,
                "host names, for example app.example.com, without https:// and without a path",
            ));
        }
        let brand = reader.optional("BRAND_URL");
        let urls = brand.iter().map(String::as_str).chain([api_public_url]);
        Self(urls.filter_map(host_of).collect())
    }

    /// Whether a link leads to one of the hosts or their subdomains.
    pub fn allow(&self, url: &str) -> bool {
        let Some(host) = host_of(url) else {
            return false;
        };
        self.0.iter().any(|own| {
            let below = host.strip_suffix(own.as_str());
            below.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        })
    }
}

/// The host of a web URL.
fn host_of(url: &str) -> Option<String> {
    let url = Url::parse(url.trim()).ok()?;
    let web = matches!(url.scheme(), "http" | "https");
    // `https://app.example.com@evil.test` looks like a link to another host.
    let plain = url.username().is_empty() && url.password().is_none();
    let host = url.host_str().filter(|_| web && plain)?;
    Some(host.trim_end_matches('.').to_owned())
}

fn host(text: &str) -> Option<String> {
    if text.contains(['/', '@', ':', '?', '#']) {
        return None;
    }
    host_of(&format!("https://{text}"))
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Mode};

    fn allows(pairs: &[(&str, &str)], url: &str) -> bool {
        let lookup = |name: &str| {
            let found = pairs.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Config::load(&lookup, Mode::Dev)
            .unwrap()
            .link_hosts
            .allow(url)
    }

    #[test]
    fn links_lead_to_the_products_own_hosts_alone() {
        let set = [("LINK_HOSTS", "acme.example, Docs.Other.example")];
        for url in [
            "https://acme.example/x?y=z",
            "HTTPS://APP.ACME.EXAMPLE/",
            "http://docs.other.example.:8080/",
        ] {
            assert!(allows(&set, url), "{url}");
        }
        for url in [
            "https://evil.example/",
            "https://acme.example.evil.test/",
            "https://notacme.example/",
            "https://acme.example@evil.test/",
            "https://acme.example:x@acme.example/",
            "//acme.example/",
            "javascript:alert(1)//acme.example",
            "ftp://acme.example/",
            "acme.example",
            "",
        ] {
            assert!(!allows(&set, url), "{url}");
        }
    }

    #[test]
    fn by_default_they_are_those_of_the_brand_and_of_the_api() {
        let set = [
            ("BRAND_URL", "https://acme.example/"),
            ("API_PUBLIC_URL", "https://mail.acme.test"),
        ];
        for url in ["https://acme.example/a", "https://mail.acme.test/b"] {
            assert!(allows(&set, url), "{url}");
        }
        assert!(!allows(&set, "https://acme.test/"));
        assert!(allows(&[], "http://localhost:3002/x"));
    }

    #[test]
    fn a_host_that_is_a_url_is_a_problem() {
        for wrong in ["https://acme.example", "acme.example/x", "a b"] {
            let lookup = |name: &str| (name == "LINK_HOSTS").then(|| wrong.to_owned());
            let problems = Config::load(&lookup, Mode::Dev).unwrap_err();
            assert!(
                problems[0].to_string().starts_with("LINK_HOSTS has"),
                "{wrong}"
            );
        }
    }
}
