//! Open and click tracking.

use super::reader::Reader;

const NAME: &str = "EMAIL_TRACKING";

/// What Hogsend tracks in mails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tracking {
    /// Adds an image to the end of each mail.
    pub opens: bool,
    /// Rewrites links to go through the API.
    pub clicks: bool,
}

impl Tracking {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let names = reader.words(NAME);
        let mut read = Self::default();
        for name in &names {
            match name.as_str() {
                "opens" => read.opens = true,
                "clicks" => read.clicks = true,
                "off" if names.len() == 1 => {}
                other => {
                    let message =
                        format!("names '{other}': use opens, clicks, opens,clicks, or off");
                    reader.problem(NAME, message);
                }
            }
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Mode};

    #[test]
    fn anything_but_opens_clicks_and_off_is_named() {
        let load = |value: &str| {
            let lookup = |name: &str| (name == "EMAIL_TRACKING").then(|| value.to_owned());
            let config = Config::load(&lookup, Mode::Dev);
            config
                .map(|config| (config.tracking.opens, config.tracking.clicks))
                .map_err(|problems| problems[0].to_string())
        };
        for (value, expected) in [
            ("", (true, true)),
            ("clicks , opens", (true, true)),
            ("opens", (true, false)),
            ("clicks", (false, true)),
            ("off", (false, false)),
        ] {
            assert_eq!(load(value), Ok(expected), "{value}");
        }
        for wrong in ["none", "opens,links", "off,clicks", "Clicks"] {
            let problem = load(wrong).unwrap_err();
            assert!(problem.starts_with("EMAIL_TRACKING names '"), "{problem}");
        }
    }
}
