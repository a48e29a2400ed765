//! Where the services of a region are (<https://docs.aws.amazon.com/general/latest/gr/ses.html>).

/// The name of an AWS region, such as `eu-west-1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region(String);

impl Region {
    /// Parses a region's name. The error continues "SES_REGION …".
    pub fn new(name: &str) -> Result<Self, String> {
        let parts: Vec<&str> = name.split('-').collect();
        let lower = |part: &&str| part.bytes().all(|byte| byte.is_ascii_lowercase());
        let sound = match parts.as_slice() {
            [first, middle @ .., last] => {
                first.len() >= 2
                    && lower(first)
                    && !middle.is_empty()
                    && middle.iter().all(|part| !part.is_empty() && lower(part))
                    && !last.is_empty()
                    && last.bytes().all(|byte| byte.is_ascii_digit())
            }
            _ => false,
        };
        sound.then(|| Self(name.to_owned())).ok_or_else(|| {
            format!(
                "'{}' is not an AWS region: use its code, such as eu-west-1",
                name.escape_debug()
            )
        })
    }

    pub fn name(&self) -> &str {
        &self.0
    }

    /// The host name of a service in this region.
    pub fn host(&self, service: &str) -> String {
        let domain = if self.0.starts_with("cn-") {
            "amazonaws.com.cn"
        } else {
            "amazonaws.com"
        };
        format!("{service}.{}.{domain}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Region;

    #[test]
    fn a_region_leads_to_its_hosts() {
        for (name, host) in [
            ("us-east-1", "email.us-east-1.amazonaws.com"),
            ("ap-southeast-2", "email.ap-southeast-2.amazonaws.com"),
            ("us-gov-west-1", "email.us-gov-west-1.amazonaws.com"),
            ("cn-north-1", "email.cn-north-1.amazonaws.com.cn"),
        ] {
            assert_eq!(Region::new(name).unwrap().host("email"), host);
        }
    }

    #[test]
    fn what_is_no_region_is_refused_with_an_example() {
        for name in [
            "",
            "eu",
            "Ireland",
            "eu-west",
            "eu-west-1.evil.com",
            "eu--1",
            "eu-west-1/",
            "EU-WEST-1",
            "eu-1",
        ] {
            let error = Region::new(name).unwrap_err();
            assert!(error.contains("eu-west-1"), "{error}");
        }
    }
}
