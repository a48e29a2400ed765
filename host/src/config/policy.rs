//! Frequency cap, send window, time zone and test mode of mails.

use chrono_tz::Tz;
use hogsend_semantics::address::Mailbox;
use hogsend_semantics::pace::{Cap, Window};

use super::reader::Reader;
use crate::durations;

/// A journey that fewer contacts enter within ten minutes is never held.
const SPIKE_FLOOR: i64 = 1_000;

/// The rules for the mails of every journey. Only `test_to` also applies to transactional mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The time zone of contacts whose own is unknown.
    pub zone: Tz,
    pub cap: Option<Cap>,
    pub window: Option<Window>,
    /// Test mode: every mail goes to this address instead.
    pub test_to: Option<String>,
}

impl Policy {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let zone = reader.text("DEFAULT_TIMEZONE");
        let zone = zone.parse().unwrap_or_else(|_| {
            let message =
                format!("is '{zone}': use a name of the IANA database, for example Europe/Berlin");
            reader.problem("DEFAULT_TIMEZONE", message);
            Tz::UTC
        });
        let cap = reader.parsed(
            "EMAIL_FREQUENCY_CAP",
            cap,
            "mails/time, for example 3/24h or 10/7d",
        );
        let window = reader.parsed(
            "EMAIL_SEND_WINDOW",
            window,
            "hh:mm-hh:mm, for example 09:00-21:00",
        );
        let address = |text: &str| Some(Mailbox::parse(text).ok()?.written());
        Self {
            zone,
            cap,
            window,
            test_to: reader.parsed("EMAIL_TEST_TO", address, "an email address without a name"),
        }
    }
}

/// The floor of the spike guard: in production it is on.
pub(super) fn spike_floor(reader: &mut Reader<'_>, production: bool) -> Option<i64> {
    const NAME: &str = "SPIKE_GUARD";
    match reader.optional(NAME).as_deref() {
        None => production.then_some(SPIKE_FLOOR),
        Some("off") => None,
        Some(_) => {
            let floor = |text: &str| {
                text.parse()
                    .ok()
                    .filter(|floor| (1..=1_000_000_000).contains(floor))
            };
            reader.parsed(
                NAME,
                floor,
                "a whole number of contacts, for example 1000, or off",
            )
        }
    }
}

/// `3/24h`
fn cap(text: &str) -> Option<Cap> {
    let (limit, window) = text.split_once('/')?;
    Some(Cap {
        limit: limit.trim().parse().ok()?,
        window: durations::parse(window).filter(|window| !window.is_zero())?,
    })
}

/// `09:00-21:00`
fn window(text: &str) -> Option<Window> {
    let time = |text: &str| {
        let (hour, minute) = text.trim().split_once(':')?;
        let (hour, minute) = (hour.parse().ok()?, minute.parse().ok()?);
        (hour < 24 && minute < 60).then_some((hour, minute))
    };
    let (start, end) = text.split_once('-')?;
    let (start, end) = (time(start)?, time(end)?);
    (start != end).then_some(Window { start, end })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn rates_and_windows_are_read_or_refused() {
        let day = Duration::from_secs(86_400);
        assert_eq!(
            cap("3/24h"),
            Some(Cap {
                limit: 3,
                window: day
            })
        );
        assert_eq!(cap("10 / 7d").unwrap().window, 7 * day);
        assert_eq!(cap("5/1d 12h").unwrap().window, day * 3 / 2);
        for wrong in ["", "3", "3/", "/d", "3/h", "3/0d", "-1/d", "3/1y", "3/1é"] {
            assert_eq!(cap(wrong), None, "{wrong}");
        }
        let night = window("22:00-06:30").unwrap();
        assert_eq!((night.start, night.end), ((22, 0), (6, 30)));
        for wrong in [
            "",
            "9-17",
            "09:00",
            "24:00-06:00",
            "09:60-10:00",
            "09:00-09:00",
        ] {
            assert_eq!(window(wrong), None, "{wrong}");
        }
    }
}
