//! Recognises opens and clicks by machines.
//!
//! Mail programs fetch images before anyone reads, and scanners follow links to check them. The result
//! is the reason as the history stores it; a visit that is not clearly a machine's counts as a
//! person's.

use std::collections::HashSet;

use chrono::{DateTime, TimeDelta, Utc};

use crate::db::Click;

/// A `HEAD` request asks for no page, so nobody reads it.
pub const HEAD: &str = "head";
/// The provider reports a click that our own link recorded as well.
pub const REPEAT: &str = "repeat";
/// The mail was never sent: the image or link was fetched from somewhere else.
pub const UNSENT: &str = "unsent";

/// Nobody reads a mail this soon after it was sent.
const EARLY: TimeDelta = TimeDelta::seconds(3);
/// Nobody follows this many links of a mail within this time.
const BURST: TimeDelta = TimeDelta::seconds(3);
const BURST_LINKS: usize = 5;

/// The whole user agent of Apple Mail's privacy protection. Browsers send a longer one.
const APPLE_MAIL: &str = "mozilla/5.0";
/// Image proxies of programs that are no mail programs, for example chats.
const PROXIES: &[&str] = &["slack-imgproxy"];
/// Image proxies of mail services, which fetch an image when the recipient opens the mail. Some also
/// fetch it once when the mail arrives.
const OPENERS: &[&str] = &["googleimageproxy", "yahoomailproxy"];
/// How soon after delivery such a service fetches images by itself.
const SCAN: TimeDelta = TimeDelta::seconds(10);
const SCANNERS: &[&str] = &[
    "barracuda",
    "mimecast",
    "proofpoint",
    "zscaler",
    "symantec",
    "messagelabs",
    "fortinet",
    "trendmicro",
    "safelinks",
];
const PREVIEWS: &[&str] = &[
    "facebookexternalhit",
    "facebookcatalog",
    "meta-externalagent",
    "whatsapp",
    "skypeuripreview",
    "bingpreview",
    "linkpreview",
    "link preview",
    "embedly",
    "iframely",
    "vkshare",
    "crawl",
    "spider",
    "slurp",
    "mediapartners-google",
    "google-read-aloud",
    "google-safety",
    "urlscan",
    "virustotal",
];
const HEADLESS: &[&str] = &[
    "headlesschrome",
    "phantomjs",
    "puppeteer",
    "playwright",
    "selenium",
];
/// Libraries and tools, by the start of their user agent.
const SCRIPTS: &[&str] = &[
    "aiohttp",
    "apache-httpclient",
    "axios",
    "curl",
    "go-http-client",
    "guzzlehttp",
    "httpie",
    "insomnia",
    "java/",
    "libwww-perl",
    "lwp",
    "node",
    "okhttp",
    "php",
    "postmanruntime",
    "python",
    "reqwest",
    "ruby",
    "scrapy",
    "undici",
    "wget",
    "winhttp",
];

/// One open or click.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    pub at: DateTime<Utc>,
    /// A provider reported it, with fewer details than a request has.
    pub by_provider: bool,
    pub user_agent: Option<&'a str>,
    /// The header `Purpose` or one like it.
    pub purpose: Option<&'a str>,
    /// Whether it was a click.
    pub click: bool,
    pub sent_at: Option<DateTime<Utc>>,
    /// When the recipient's server accepted the mail, if that is known.
    pub delivered_at: Option<DateTime<Utc>>,
    /// How many links the mail has.
    pub links: usize,
    /// Clicks on links of the mail around it, itself among them, in order.
    pub around: &'a [Click],
}

/// The time around a click in which other clicks matter for it.
pub fn window(at: DateTime<Utc>) -> (DateTime<Utc>, DateTime<Utc>) {
    (at - BURST, at + BURST)
}

/// Why it was a machine; None where it was a person.
pub fn reason(seen: Seen<'_>) -> Option<&'static str> {
    if seen.purpose.is_some_and(is_prefetch) {
        return Some("prefetch");
    }
    match seen.user_agent.map(str::trim) {
        None if seen.by_provider => {}
        None => return Some("no_user_agent"),
        Some(agent) => {
            if let Some(reason) = by_name(agent) {
                return Some(reason);
            }
            if is_opener(agent) && (seen.click || is_scan(seen)) {
                return Some("proxy");
            }
        }
    }
    if seen.sent_at.is_some_and(|sent| seen.at - sent < EARLY) {
        return Some("early");
    }
    (seen.click && is_burst(seen)).then_some("burst")
}

fn is_opener(agent: &str) -> bool {
    let agent = agent.to_ascii_lowercase();
    OPENERS.iter().any(|name| agent.contains(name))
}

/// Whether the mail arrived only just now.
fn is_scan(seen: Seen<'_>) -> bool {
    let came = seen.delivered_at.or(seen.sent_at);
    came.is_some_and(|came| seen.at - came < SCAN)
}

fn is_prefetch(purpose: &str) -> bool {
    let purpose = purpose.to_ascii_lowercase();
    ["prefetch", "preview", "prerender"]
        .iter()
        .any(|word| purpose.contains(word))
}

fn by_name(agent: &str) -> Option<&'static str> {
    let agent = agent.to_ascii_lowercase();
    let holds = |names: &[&str]| names.iter().any(|name| agent.contains(name));
    // Cubot is a brand of phones.
    let bot = |word: &str| word.ends_with("bot") && word != "cubot";
    match agent.as_str() {
        "" => Some("no_user_agent"),
        APPLE_MAIL => Some("proxy"),
        _ if holds(PROXIES) => Some("proxy"),
        _ if holds(SCANNERS) => Some("scanner"),
        _ if holds(HEADLESS) => Some("headless"),
        _ if holds(PREVIEWS) => Some("bot"),
        _ if agent.split(|c: char| !c.is_ascii_alphabetic()).any(bot) => Some("bot"),
        _ if SCRIPTS.iter().any(|name| agent.starts_with(name)) => Some("script"),
        _ => None,
    }
}

/// Whether it is one of many clicks at once: on every link of the mail, or on more than a person clicks.
fn is_burst(seen: Seen<'_>) -> bool {
    let starts = seen.around.iter().map(|click| click.at);
    let starts = starts.filter(|start| (*start..=*start + BURST).contains(&seen.at));
    starts.into_iter().any(|start| {
        let within = seen
            .around
            .iter()
            .filter(|click| (start..=start + BURST).contains(&click.at));
        let links: HashSet<&str> = within.map(|click| click.link.as_str()).collect();
        links.len() >= BURST_LINKS || (links.len() >= 2 && links.len() == seen.links)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

    fn at(ms: i64) -> DateTime<Utc> {
        let start: DateTime<Utc> = "2026-03-02T09:00:00Z".parse().unwrap();
        start + TimeDelta::milliseconds(ms)
    }

    fn seen<'a>(agent: Option<&'a str>, around: &'a [Click]) -> Seen<'a> {
        Seen {
            at: at(60_000),
            by_provider: false,
            user_agent: agent,
            purpose: None,
            click: true,
            sent_at: Some(at(0)),
            delivered_at: None,
            links: 3,
            around,
        }
    }

    #[test]
    fn machines_are_known_by_their_names() {
        for (agent, expected) in [
            (FIREFOX, None),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko)",
                None,
            ),
            (
                "Mozilla/5.0 (Linux; Android 10; CUBOT X30) AppleWebKit/537.36 Chrome/120.0 Mobile Safari/537.36",
                None,
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Microsoft Outlook 16.0.5134)",
                None,
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Instagram 300.0",
                None,
            ),
            ("", Some("no_user_agent")),
            ("  ", Some("no_user_agent")),
            ("Mozilla/5.0", Some("proxy")),
            (
                "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
                Some("proxy"),
            ),
            (
                "YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html",
                Some("proxy"),
            ),
            ("BarracudaCentral/1.0", Some("scanner")),
            ("Mozilla/5.0 Mimecast URL Protect", Some("scanner")),
            (
                "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
                Some("bot"),
            ),
            (
                "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
                Some("bot"),
            ),
            ("facebookexternalhit/1.1", Some("bot")),
            ("WhatsApp/2.23.20.0", Some("bot")),
            (
                "Mozilla/5.0 (X11; Linux x86_64) HeadlessChrome/120.0 Safari/537.36",
                Some("headless"),
            ),
            ("curl/8.5.0", Some("script")),
            ("Wget/1.21", Some("script")),
            ("python-requests/2.31", Some("script")),
            ("Python/3.12 aiohttp/3.9", Some("script")),
            ("Go-http-client/2.0", Some("script")),
            ("axios/1.6", Some("script")),
            ("okhttp/4.12", Some("script")),
        ] {
            assert_eq!(reason(seen(Some(agent), &[])), expected, "{agent}");
        }
        assert_eq!(reason(seen(None, &[])), Some("no_user_agent"));
        let told = Seen {
            by_provider: true,
            ..seen(None, &[])
        };
        assert_eq!(reason(told), None, "a provider may not tell it");
    }

    #[test]
    fn gmail_and_yahoo_open_for_people_once_the_mail_was_there_a_while() {
        const GMAIL: &str = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)";
        const YAHOO: &str =
            "YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html";
        for agent in [GMAIL, YAHOO] {
            let open = Seen {
                click: false,
                ..seen(Some(agent), &[])
            };
            assert_eq!(reason(open), None, "a minute after it was sent");
            for (delivered, ms, expected) in [
                (Some(50_001), 60_000, Some("proxy")),
                (Some(50_000), 60_000, None),
                (None, 9_999, Some("proxy")),
                (None, 10_000, None),
            ] {
                let open = Seen {
                    at: at(ms),
                    delivered_at: delivered.map(at),
                    ..open
                };
                assert_eq!(reason(open), expected, "{delivered:?} {ms}");
            }
            let click = Seen {
                click: true,
                ..open
            };
            assert_eq!(
                reason(click),
                Some("proxy"),
                "it shows pictures, it follows no link"
            );
        }
        let apple = Seen {
            click: false,
            at: at(3_600_000),
            ..seen(Some("Mozilla/5.0"), &[])
        };
        assert_eq!(
            reason(apple),
            Some("proxy"),
            "Apple fetches whether one reads or not"
        );
    }

    #[test]
    fn what_is_fetched_ahead_is_no_visit() {
        for (purpose, expected) in [
            ("prefetch", Some("prefetch")),
            ("prefetch;prerender", Some("prefetch")),
            ("Preview", Some("prefetch")),
            ("navigate", None),
        ] {
            let ahead = Seen {
                purpose: Some(purpose),
                ..seen(Some(FIREFOX), &[])
            };
            assert_eq!(reason(ahead), expected, "{purpose}");
        }
    }

    #[test]
    fn nobody_reads_within_three_seconds() {
        for (ms, expected) in [
            (-500, Some("early")),
            (0, Some("early")),
            (2_999, Some("early")),
            (3_000, None),
        ] {
            for click in [false, true] {
                let visit = Seen {
                    at: at(ms),
                    click,
                    ..seen(Some(FIREFOX), &[])
                };
                assert_eq!(reason(visit), expected, "{ms}");
            }
        }
        let unknown = Seen {
            at: at(0),
            sent_at: None,
            ..seen(Some(FIREFOX), &[])
        };
        assert_eq!(reason(unknown), None);
    }

    #[test]
    fn many_links_at_once_are_a_burst() {
        // The clicks around one at 60 s, how many links the mail has, and whether it is a burst.
        type Case<'a> = (&'a [(i64, &'a str)], usize, bool);
        let cases: &[Case<'_>] = &[
            (&[(0, "a")], 1, false),
            (&[(0, "a"), (100, "a"), (200, "a")], 1, false),
            (&[(0, "a"), (100, "b")], 3, false),
            (&[(0, "a"), (100, "b")], 2, true),
            (&[(-3_000, "a"), (0, "b")], 2, true),
            (&[(0, "a"), (3_000, "b")], 2, true),
            (&[(0, "a"), (3_001, "b")], 2, false),
            // No three seconds hold all three.
            (&[(-2_000, "a"), (0, "b"), (2_000, "c")], 3, false),
            (&[(-1_500, "a"), (0, "b"), (1_500, "c")], 3, true),
            (&[(0, "a"), (1, "b"), (2, "c"), (3, "d")], 9, false),
            (&[(0, "a"), (1, "b"), (2, "c"), (3, "d"), (4, "e")], 9, true),
            (
                &[(-3_000, "a"), (-1, "b"), (0, "c"), (1, "d"), (2, "e")],
                9,
                false,
            ),
        ];
        for (clicks, links, expected) in cases {
            let around: Vec<Click> = clicks
                .iter()
                .map(|(ms, link)| Click {
                    link: (*link).into(),
                    at: at(60_000 + ms),
                })
                .collect();
            let visit = Seen {
                links: *links,
                ..seen(Some(FIREFOX), &around)
            };
            let expected = expected.then_some("burst");
            assert_eq!(reason(visit), expected, "{clicks:?} of {links}");
            let open = Seen {
                click: false,
                ..visit
            };
            assert_eq!(reason(open), None, "an open is not a click");
        }
    }
}
