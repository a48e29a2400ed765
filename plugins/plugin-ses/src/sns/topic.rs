//! A topic of SNS.

use url::Url;

use crate::region::Region;

/// A topic, by its ARN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    pub arn: String,
    region: Region,
}

impl Topic {
    /// Parses `arn:aws:sns:<region>:<account>:<name>`. The error continues "SES_TOPIC_ARN: …".
    pub fn new(arn: &str) -> Result<Self, String> {
        let parts: Vec<&str> = arn.split(':').collect();
        let region = match parts.as_slice() {
            ["arn", partition, "sns", region, account, name]
                if partition.starts_with("aws")
                    && account.len() == 12
                    && account.bytes().all(|byte| byte.is_ascii_digit())
                    && !name.is_empty()
                    && name.bytes().all(|byte| byte.is_ascii_graphic()) =>
            {
                Region::new(region).ok()
            }
            _ => None,
        };
        let region = region.ok_or_else(|| {
            format!(
                "'{}' is not the ARN of a topic: copy it from the topic's page in the SNS console, such as arn:aws:sns:eu-west-1:123456789012:ses-events",
                arn.escape_debug()
            )
        })?;
        Ok(Self {
            arn: arn.to_owned(),
            region,
        })
    }

    /// The host that serves this topic's certificates and confirmations.
    pub fn host(&self) -> String {
        self.region.host("sns")
    }

    /// Parses a URL of a message, which must lead to this topic's region by HTTPS.
    pub fn url(&self, text: &str) -> Option<Url> {
        let url = Url::parse(text).ok()?;
        let plain = url.username().is_empty() && url.password().is_none() && url.port().is_none();
        let host = url.host_str() == Some(self.host().as_str());
        (url.scheme() == "https" && plain && host).then_some(url)
    }
}

#[cfg(test)]
mod tests {
    use super::Topic;

    #[test]
    fn only_urls_of_the_topics_region_are_followed() {
        let topic = Topic::new("arn:aws:sns:eu-west-1:123456789012:ses-events").unwrap();
        for url in [
            "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-01.pem",
            "https://sns.eu-west-1.amazonaws.com:443/x.pem",
            "https://SNS.eu-west-1.amazonaws.com/x.pem",
        ] {
            assert!(topic.url(url).is_some(), "{url}");
        }
        for url in [
            "",
            "x.pem",
            "http://sns.eu-west-1.amazonaws.com/x.pem",
            "https://sns.eu-west-1.amazonaws.com:8443/x.pem",
            "https://sns.us-east-1.amazonaws.com/x.pem",
            "https://sns.eu-west-1.amazonaws.com.evil.com/x.pem",
            "https://sns.eu-west-1.amazonaws.com.cn/x.pem",
            "https://sns.eu-west-1.amazonaws.com@evil.com/x.pem",
            "https://user@sns.eu-west-1.amazonaws.com/x.pem",
            "https://evil.com/https://sns.eu-west-1.amazonaws.com/x.pem",
            "https://evil.com\\@sns.eu-west-1.amazonaws.com/x.pem",
            "https://s3.eu-west-1.amazonaws.com/x.pem",
            "https://sns.eu-west-1.amazonaws.com./x.pem",
        ] {
            assert!(topic.url(url).is_none(), "{url}");
        }
        let topic = Topic::new("arn:aws-cn:sns:cn-north-1:123456789012:ses").unwrap();
        let url = "https://sns.cn-north-1.amazonaws.com.cn/x.pem";
        assert!(topic.url(url).is_some());
    }

    #[test]
    fn what_is_no_topic_is_refused_with_an_example() {
        for arn in [
            "ses-events",
            "arn:aws:sqs:eu-west-1:123456789012:ses-events",
            "arn:aws:sns:nowhere:123456789012:ses-events",
            "arn:aws:sns:eu-west-1:1234:ses-events",
            "arn:aws:sns:eu-west-1:123456789012:",
            "arn:aws:sns:eu-west-1:123456789012:ses-events:1f2e",
        ] {
            let error = Topic::new(arn).unwrap_err();
            assert!(error.contains("arn:aws:sns:eu-west-1:"), "{error}");
        }
    }
}
