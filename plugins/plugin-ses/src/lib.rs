//! Amazon SES: sends mail through <https://aws.amazon.com/ses/> and reads its events, which arrive
//! through Amazon SNS.

#![forbid(unsafe_code)]

mod account;
mod answer;
mod body;
mod event;
mod region;
mod signing;
mod sns;
#[cfg(test)]
mod tests;

use hogsend_plugin_api::{
    Attempt, Capabilities, Checked, Delivery, DeliveryReading, Host, HttpRequest, Idempotency,
    Mail, Manifest, Plugin, Prepared, Rate, Refusal, SendOutcome, Sent, Setting, Settings,
    SetupItem, Webhook, export_plugin, feature,
};
use url::Url;

use body::ConfigurationSets;
use region::Region;
use signing::Keys;
use sns::{Sns, Topic};

const ACCESS_KEY: &str = "AWS_ACCESS_KEY_ID";
const SECRET_KEY: &str = "AWS_SECRET_ACCESS_KEY";
const SESSION_TOKEN: &str = "AWS_SESSION_TOKEN";
const REGION: &str = "SES_REGION";
const CONFIGURATION_SET: &str = "SES_CONFIGURATION_SET";
const CONFIGURATION_SET_TRANSACTIONAL: &str = "SES_CONFIGURATION_SET_TRANSACTIONAL";
const FROM: &str = "SES_FROM";
const TOPIC_ARN: &str = "SES_TOPIC_ARN";
const BASE_URL: &str = "SES_BASE_URL";
const SNS_BASE_URL: &str = "SES_SNS_BASE_URL";

const USER_AGENT: &str = concat!("hogsend-plugin-ses/", env!("CARGO_PKG_VERSION"));

/// The name of the service in signatures.
const SERVICE: &str = "ses";

pub struct Ses {
    keys: Option<Keys>,
    region: Option<Region>,
    base: Option<Url>,
    configuration_sets: ConfigurationSets,
    sns: Sns,
}

impl Plugin for Ses {
    fn manifest() -> Manifest {
        Manifest::new("ses", env!("CARGO_PKG_VERSION"))
            .setting(
                Setting::new(
                    ACCESS_KEY,
                    "the id (AKIA…) of an access key of an IAM user that may ses:SendEmail and ses:SendRawEmail; create one at https://console.aws.amazon.com/iam, Users, Security credentials",
                )
                .required(),
            )
            .setting(
                Setting::new(SECRET_KEY, "the secret of this access key, shown once when it is created")
                    .required()
                    .secret(),
            )
            .setting(
                Setting::new(SESSION_TOKEN, "the session token, only for temporary keys (ASIA…)").secret(),
            )
            .setting(
                Setting::new(
                    REGION,
                    "the code of the region whose SES has the verified sender, such as eu-west-1",
                )
                .required(),
            )
            .setting(Setting::new(
                FROM,
                "the default sender, Name <address>, a verified identity at https://console.aws.amazon.com/ses",
            ))
            .setting(Setting::new(
                CONFIGURATION_SET,
                "the configuration set to send with, whose event destination is the topic of SES_TOPIC_ARN",
            ))
            .setting(Setting::new(
                CONFIGURATION_SET_TRANSACTIONAL,
                "the configuration set for mail of the category transactional, for example with a pool of IP addresses of its own; by default that of SES_CONFIGURATION_SET",
            ))
            .setting(Setting::new(
                TOPIC_ARN,
                "the ARN (arn:aws:sns:…) of the SNS topic that posts to /v1/webhooks/ses; several are separated by commas",
            ))
            .setting(Setting::new(BASE_URL, "the URL of the SES API, if it is not that of the region").url())
            .setting(
                Setting::new(
                    SNS_BASE_URL,
                    "the URL that stands in for SNS when certificates are fetched and subscriptions confirmed, for tests",
                )
                .url(),
            )
            .webhook_secret(TOPIC_ARN)
            .sender(FROM)
            .needs(feature::WEBHOOK_REQUESTS)
            .needs(feature::WEBHOOK_ANSWER)
            .http_host("email.*.amazonaws.com")
            .http_host("email.*.amazonaws.com.cn")
            .http_host("sns.*.amazonaws.com")
            .http_host("sns.*.amazonaws.com.cn")
            .http_host("$SES_BASE_URL")
            .http_host("$SES_SNS_BASE_URL")
    }

    fn new(settings: &Settings) -> Result<Self, String> {
        let get = |name| settings.get(name).filter(|value| !value.is_empty());
        for name in [ACCESS_KEY, SECRET_KEY, SESSION_TOKEN] {
            if get(name).is_some_and(|key| !key.chars().all(|c| c.is_ascii_graphic())) {
                return Err(format!(
                    "{name} contains a space or another character that no key has: copy it again"
                ));
            }
        }
        let keys = get(ACCESS_KEY).zip(get(SECRET_KEY));
        let region = get(REGION).map(Region::new).transpose();
        let region = region.map_err(|fix| format!("{REGION}: {fix}"))?;
        let base = get(BASE_URL).map(str::to_owned).or_else(|| {
            let region = region.as_ref()?;
            Some(format!("https://{}", region.host("email")))
        });
        let base = base.as_deref().map(Url::parse).transpose();
        let topics = get(TOPIC_ARN).unwrap_or_default().split(',').map(str::trim);
        let topics: Result<_, _> = topics
            .filter(|arn| !arn.is_empty())
            .map(Topic::new)
            .collect();
        let stand_in = get(SNS_BASE_URL).map(Url::parse).transpose();
        Ok(Self {
            keys: keys.map(|(id, secret)| Keys {
                id: id.to_owned(),
                secret: secret.to_owned(),
                session: get(SESSION_TOKEN).map(str::to_owned),
            }),
            base: base.map_err(|error| format!("{BASE_URL} is not a URL: {error}"))?,
            configuration_sets: ConfigurationSets {
                lifecycle: get(CONFIGURATION_SET).map(str::to_owned),
                transactional: get(CONFIGURATION_SET_TRANSACTIONAL)
                    .or(get(CONFIGURATION_SET))
                    .map(str::to_owned),
            },
            region,
            sns: Sns {
                topics: topics.map_err(|fix| format!("{TOPIC_ARN}: {fix}"))?,
                base: stand_in.map_err(|error| format!("{SNS_BASE_URL} is not a URL: {error}"))?,
            },
        })
    }

    async fn check(&self, host: &Host) -> Vec<Checked> {
        let mut all = match self.account(host) {
            Ok((_, _, request)) => account::check(host, request).await,
            Err(_) => {
                let set = self.keys.is_some();
                let missing = if set { REGION } else { ACCESS_KEY };
                vec![Checked::not_set("the access key", missing)]
            }
        };
        if self.sns.topics.is_empty() {
            all.push(Checked::not_set("the topic of events", TOPIC_ARN));
        }
        all
    }

    fn setup(&self) -> Vec<SetupItem> {
        vec![
            SetupItem::new("Protocol", "HTTPS", SUBSCRIPTIONS),
            SetupItem::new("Endpoint", "{url}/v1/webhooks/ses", SUBSCRIPTIONS),
            SetupItem::new("Enable raw message delivery", "off", SUBSCRIPTIONS),
            SetupItem::new(
                "Event types",
                "Sends, Rejects, Hard bounces, Complaints, Deliveries, Delivery delays",
                "https://console.aws.amazon.com/ses, Configuration sets, your set, Event destinations",
            ),
        ]
    }
}

/// The page at which a topic is subscribed.
const SUBSCRIPTIONS: &str =
    "https://console.aws.amazon.com/sns, Topics, your topic, Create subscription";

impl Ses {
    /// The keys, the region's name and the URL of a path, or what is not set.
    fn api(&self, path: &str) -> Result<(&Keys, &str, Url), SendOutcome> {
        let Some(keys) = &self.keys else {
            return Err(SendOutcome::blocked(format!(
                "{ACCESS_KEY} and {SECRET_KEY} are not both set: create an access key at https://console.aws.amazon.com/iam"
            )));
        };
        let (Some(region), Some(base)) = (&self.region, &self.base) else {
            return Err(SendOutcome::blocked(format!(
                "{REGION} is not set: it is the code of the region with your verified sender, such as eu-west-1"
            )));
        };
        let mut url = base.clone();
        url.set_query(None);
        url.set_fragment(None);
        url.set_path(&format!(
            "{}/v2/email/{path}",
            base.path().trim_end_matches('/')
        ));
        Ok((keys, region.name(), url))
    }
}

impl Delivery for Ses {
    fn capabilities(&self) -> Capabilities {
        // SES has no idempotency keys, and its bulk request sends only stored or inline templates.
        Capabilities::new(Idempotency::None)
    }

    fn prepare(&self, mail: &Mail) -> Result<Prepared, String> {
        body::prepare(&self.configuration_sets, mail)
    }

    async fn send(&self, host: Host, attempt: Attempt) -> Sent {
        let (keys, region, url) = match self.api("outbound-emails") {
            Ok(api) => api,
            Err(outcome) => return outcome.into(),
        };
        let rate = self.rate(&host).await;
        let recipient = body::recipient(&attempt.prepared);
        let request = keys
            .request(
                (region, SERVICE),
                &url,
                Some(&attempt.prepared.content_type),
                attempt.prepared.body.0,
                host.now(),
            )
            .header("user-agent", USER_AGENT);
        let outcome = match host.http(request).await {
            Ok(answer) => answer::outcome(&answer, keys, recipient.as_deref(), host.now()),
            Err(error) => error.into(),
        };
        Sent::new(outcome, rate)
    }

    async fn read_webhook(
        &self,
        host: &Host,
        webhook: &Webhook,
    ) -> Result<DeliveryReading, Refusal> {
        self.sns.read(host, webhook).await
    }
}

impl Ses {
    async fn rate(&self, host: &Host) -> Option<Rate> {
        let (keys, region, request) = self.account(host).ok()?;
        account::rate(host, &format!("ses:rate:{region}:{}", keys.id), request).await
    }

    /// The question about the account, with its keys and region.
    fn account(&self, host: &Host) -> Result<(&Keys, &str, HttpRequest), SendOutcome> {
        let (keys, region, url) = self.api("account")?;
        let request = keys
            .request((region, SERVICE), &url, None, Vec::new(), host.now())
            .header("user-agent", USER_AGENT);
        Ok((keys, region, request))
    }
}

export_plugin!(Ses: delivery);
