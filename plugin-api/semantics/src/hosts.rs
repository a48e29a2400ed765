//! Which hosts a plugin may send requests to, by its manifest.

use hogsend_plugin_api::Settings;
use url::Url;

/// The hosts of a manifest, with settings filled in.
pub struct AllowList(Vec<(String, Option<u16>)>);

impl AllowList {
    /// `$NAME` stands for host and port of the URL in that setting; a setting without a value
    /// allows nothing.
    pub fn new(hosts: &[String], settings: &Settings) -> Self {
        let resolved = hosts
            .iter()
            .filter_map(|host| match host.strip_prefix('$') {
                Some(name) => {
                    let url = Url::parse(settings.get(name)?).ok()?;
                    Some((
                        url.host_str()?.to_ascii_lowercase(),
                        url.port_or_known_default(),
                    ))
                }
                None => Some((host.to_ascii_lowercase(), None)),
            });
        Self(resolved.collect())
    }

    /// A host without a port is reached by `https` on its default port.
    pub fn allows(&self, url: &Url) -> bool {
        let Some(host) = url.host_str().map(str::to_ascii_lowercase) else {
            return false;
        };
        let port = url.port_or_known_default();
        self.0.iter().any(|(known, known_port)| {
            is_named(known, &host)
                && match known_port {
                    Some(known_port) => Some(*known_port) == port,
                    None => url.scheme() == "https" && port == Some(443),
                }
        })
    }
}

/// Whether a host has this name, in which `*` stands for one label.
fn is_named(name: &str, host: &str) -> bool {
    let (mut names, mut labels) = (name.split('.'), host.split('.'));
    loop {
        match (names.next(), labels.next()) {
            (None, None) => return true,
            (Some("*"), Some(label)) if !label.is_empty() => {}
            (Some(name), Some(label)) if name == label => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use hogsend_plugin_api::Settings;
    use url::Url;

    use super::AllowList;

    #[test]
    fn only_named_hosts_and_ports_are_reached() {
        let settings = Settings::from([("BASE", "http://127.0.0.1:4008/x")]);
        let list = AllowList::new(
            &[
                "api.vendor.com".into(),
                "sns.*.vendor.com".into(),
                "$BASE".into(),
                "$UNSET".into(),
            ],
            &settings,
        );
        let allows = |url: &str| list.allows(&Url::parse(url).unwrap());
        assert!(allows("https://api.vendor.com/emails"));
        assert!(allows("https://API.vendor.com"));
        assert!(allows("https://sns.eu-west-1.vendor.com/key.pem"));
        assert!(allows("http://127.0.0.1:4008/emails"));
        for url in [
            "http://api.vendor.com/",
            "https://sns.vendor.com/",
            "https://sns.a.b.vendor.com/",
            "https://evil.eu-west-1.vendor.com/",
            "https://api.vendor.com:8443/",
            "https://evil.com/api.vendor.com",
            "https://api.vendor.com.evil.com/",
            "http://127.0.0.1:4009/",
            "http://169.254.169.254/",
            "https://api.vendor.com@evil.com/",
        ] {
            assert!(!allows(url), "{url}");
        }
    }
}
