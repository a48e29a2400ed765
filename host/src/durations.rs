//! Durations as people write them: `90m`, `2d3h`.

use std::time::Duration;

/// Parses whole numbers of weeks, days, hours, minutes and seconds, largest unit first or not:
/// `2d3h`, `1w 90m`, `90 seconds`. `None` for anything else, also for months and years, whose length
/// varies.
pub fn parse(text: &str) -> Option<Duration> {
    let vague = |unit: &str| unit.starts_with(['y', 'M']) || unit.starts_with("mo");
    let mut units = text.split(|c: char| !c.is_alphabetic());
    if text.contains('.') || units.any(vague) {
        return None;
    }
    let length = humantime::parse_duration(text).ok()?;
    (length.subsec_nanos() == 0).then_some(length)
}

/// A duration in the largest unit that divides it.
pub fn show(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let units = [(86_400, "d"), (3_600, "h"), (60, "m")];
    let unit = units
        .iter()
        .find(|(unit, _)| seconds > 0 && seconds.is_multiple_of(*unit));
    match unit {
        Some((unit, name)) => format!("{}{name}", seconds / unit),
        None => format!("{duration:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_or_refused() {
        assert_eq!(parse("2d3h"), Some(Duration::from_secs(51 * 3_600)));
        assert_eq!(parse(" 1w 90m 5s "), Some(Duration::from_secs(610_205)));
        assert_eq!(parse("0s"), Some(Duration::ZERO));
        for wrong in ["", "3", "d", "3y", "-1d", "1.5h", "99999999999999999999d"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn units_may_be_words_of_a_fixed_length() {
        assert_eq!(parse("1h30m"), Some(Duration::from_secs(5_400)));
        assert_eq!(parse("90 seconds"), Some(Duration::from_secs(90)));
        assert_eq!(parse("2 days 1 min"), Some(Duration::from_secs(172_860)));
        for wrong in [
            "1M",
            "1mo",
            "2 months",
            "1year",
            "5ms",
            "1ns",
            "+5d",
            "1d 2",
            "1,5h",
            "1é",
            "1 D",
            "  ",
            "18446744073709551615s 1s",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_shown_has_one_unit_and_is_read_again() {
        for (seconds, shown) in [
            (90 * 86_400, "90d"),
            (36 * 3_600, "36h"),
            (5_400, "90m"),
            (61, "61s"),
            (0, "0ns"),
        ] {
            let length = Duration::from_secs(seconds);
            assert_eq!(show(length), shown);
            assert_eq!(parse(shown), Some(length));
        }
        assert_eq!(show(Duration::from_millis(1_500)), "1.5s");
    }
}
