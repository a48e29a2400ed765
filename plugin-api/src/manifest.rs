//! A plugin's description of itself, which the host reads before it creates the plugin.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::wire;

/// A plugin kind: what a plugin does. A plugin has one or more kinds. The host ignores a kind of a
/// later version, names it at start, and uses the plugin's other kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Kind {
    /// Reads one vendor's webhooks into events; see [`EventSource`](crate::EventSource).
    EventSource,
    /// Sends mail through one provider; see [`Delivery`](crate::Delivery).
    Delivery,
    /// Reads people's properties from an analytics product and sends events to it; see
    /// [`Analytics`](crate::Analytics).
    Analytics,
    /// Provides journeys and the templates they send; see [`Journeys`](crate::Journeys).
    Journeys,
}

fn kinds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Kind>, D::Error> {
    let mut known = Vec::new();
    for kind in Vec::<Value>::deserialize(deserializer)? {
        match Kind::deserialize(&kind) {
            Ok(kind) => known.push(kind),
            Err(_) => wire::leave_out(|| {
                let name: String = kind.as_str().unwrap_or("?").chars().take(100).collect();
                format!("the kind '{}'", name.escape_debug())
            }),
        }
    }
    Ok(known)
}

/// A plugin's description.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Manifest {
    /// Short, unique and in lower case: `posthog`. It appears in `/v1/webhooks/{id}` and in
    /// `EMAIL_PROVIDER`.
    pub id: String,
    /// The plugin's own version, by semantic versioning.
    pub version: String,
    /// The version of `hogsend-plugin-api` the plugin was built with.
    pub api: String,
    /// The plugin's kinds. [`export_plugin!`](crate::export_plugin) fills them in.
    #[serde(default, deserialize_with = "kinds")]
    pub kinds: Vec<Kind>,
    /// What the plugin needs of its host, from [`feature`](crate::feature). It is loaded by a host that
    /// lacks some of it, which says so at start and in `hogsend plugin list`.
    #[serde(default)]
    pub needs: Vec<String>,
    /// The settings the plugin reads. It receives no others, and none of the host or of another plugin
    /// unless an operator allows it or both plugins [share](Setting::shared) it.
    #[serde(default)]
    pub settings: Vec<Setting>,
    /// Hosts the plugin may send HTTP requests to: a host name, in which `*` stands for one label
    /// (`sns.*.amazonaws.com`), or `$NAME` for the host of the URL in the setting `NAME`. The host
    /// refuses requests to others.
    #[serde(default)]
    pub http_hosts: Vec<String>,
    /// For an event source, or a delivery plugin whose provider sends webhooks: the setting that
    /// holds the webhook secret. In production, while this setting is empty, the host answers the
    /// plugin's webhooks with 401 and does not call the plugin.
    #[serde(default)]
    pub webhook_secret: Option<String>,
    /// For an event source: the body of a sample webhook for a first try, on one line. The host
    /// replaces `{uuid}` by a new UUID and `{now}` by the current time in RFC 3339.
    #[serde(default)]
    pub sample_webhook: Option<String>,
    /// For an event source: true where strangers can make the vendor send forged events, for example
    /// with a capture key that is public in every web page. Such events are
    /// [untrusted](crate::Trust) unless an operator lists the plugin in `TRUSTED_SOURCES`.
    #[serde(default)]
    pub untrusted: bool,
    /// For an event source: true where most installations do not use it. The host does not mention
    /// that its webhook secret is not set.
    #[serde(default)]
    pub optional: bool,
    /// For an analytics plugin: the setting without which it takes no captures. While it is empty the
    /// host stores none for the plugin. Without a name the plugin always gets them.
    #[serde(default)]
    pub captures_with: Option<String>,
    /// For a delivery plugin: the setting that holds the default sender, `Name <address>`.
    #[serde(default)]
    pub sender: Option<String>,
    /// For a delivery plugin: true where mails stay on this machine. The host then selects it in
    /// development when no provider is configured, and never in production.
    #[serde(default)]
    pub local_only: bool,
    /// For a delivery plugin: true where it opens its own connections and its calls block on them,
    /// for example for SMTP. The host then allows a call one minute instead of seconds.
    #[serde(default)]
    pub blocking: bool,
}

impl Manifest {
    /// A manifest with the plugin-api version filled in and everything optional left empty.
    pub fn new(id: &str, version: &str) -> Self {
        Self {
            id: id.into(),
            version: version.into(),
            api: env!("CARGO_PKG_VERSION").into(),
            kinds: Vec::new(),
            needs: Vec::new(),
            settings: Vec::new(),
            http_hosts: Vec::new(),
            webhook_secret: None,
            sample_webhook: None,
            untrusted: false,
            optional: false,
            captures_with: None,
            sender: None,
            local_only: false,
            blocking: false,
        }
    }

    /// Names a feature of the host that the plugin needs.
    pub fn needs(mut self, feature: &str) -> Self {
        self.needs.push(feature.into());
        self
    }

    /// Adds a setting.
    pub fn setting(mut self, setting: Setting) -> Self {
        self.settings.push(setting);
        self
    }

    /// Adds a host (or `$SETTING`) the plugin may send HTTP requests to.
    pub fn http_host(mut self, host: &str) -> Self {
        self.http_hosts.push(host.into());
        self
    }

    /// Names the setting that holds the webhook secret.
    pub fn webhook_secret(mut self, setting: &str) -> Self {
        self.webhook_secret = Some(setting.into());
        self
    }

    /// Sets the body of the sample webhook.
    pub fn sample_webhook(mut self, body: &str) -> Self {
        self.sample_webhook = Some(body.into());
        self
    }

    /// Declares that strangers can forge events of this source.
    pub fn untrusted(mut self) -> Self {
        self.untrusted = true;
        self
    }

    /// Declares that most installations do not use this source.
    pub fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    /// Names the setting without which the plugin takes no captures.
    pub fn captures_with(mut self, setting: &str) -> Self {
        self.captures_with = Some(setting.into());
        self
    }

    /// Names the setting that holds the default sender.
    pub fn sender(mut self, setting: &str) -> Self {
        self.sender = Some(setting.into());
        self
    }

    /// Declares that mails given to this plugin stay on this machine.
    pub fn local_only(mut self) -> Self {
        self.local_only = true;
        self
    }

    /// Declares that calls of this plugin block on its own connections.
    pub fn blocking(mut self) -> Self {
        self.blocking = true;
        self
    }
}

/// One setting a plugin reads from the environment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Setting {
    /// The environment variable: `RESEND_API_KEY`.
    pub name: String,
    /// One line for the operator: what it is and where to get it.
    pub help: String,
    /// The host refuses to start without it. For a plugin that only delivers mail, only while it is in
    /// use.
    #[serde(default)]
    pub required: bool,
    /// Never shown, logged or passed to another plugin.
    #[serde(default)]
    pub secret: bool,
    /// The value where the variable is not set or empty.
    #[serde(default)]
    pub default: Option<String>,
    /// The value must be an absolute `http` or `https` URL.
    #[serde(default)]
    pub url: bool,
    /// Other plugins may read it, too, if they declare it as shared.
    #[serde(default)]
    pub shared: bool,
}

impl Setting {
    /// An optional, public setting without default.
    pub fn new(name: &str, help: &str) -> Self {
        Self {
            name: name.into(),
            help: help.into(),
            required: false,
            secret: false,
            default: None,
            url: false,
            shared: false,
        }
    }

    /// The host refuses to start without it.
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// Its value is never shown.
    pub fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    /// Another plugin that declares the same setting as shared gets it as well, for example one vendor's
    /// event source and its analytics. A host refuses two plugins of which one does not say so.
    pub fn shared(mut self) -> Self {
        self.shared = true;
        self
    }

    /// Its value must be an absolute `http` or `https` URL.
    pub fn url(mut self) -> Self {
        self.url = true;
        self
    }

    /// Its value where the variable is not set or empty.
    pub fn default(mut self, value: &str) -> Self {
        self.default = Some(value.into());
        self
    }
}
