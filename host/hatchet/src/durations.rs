//! Durations as the engine reads them: whole numbers with `h`, `m`, `s` or `ms`.

use std::time::Duration;

/// The text of a duration. Fractions of a millisecond are rounded up, so that nothing wakes early.
pub(crate) fn text(duration: Duration) -> String {
    let milliseconds = duration.as_nanos().div_ceil(1_000_000);
    match milliseconds % 1000 {
        0 => format!("{}s", milliseconds / 1000),
        _ => format!("{milliseconds}ms"),
    }
}

#[cfg(any(test, feature = "stand-in"))]
/// The duration of a text, as Hatchet has read them since v0.90: no days, no number without a unit.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|it: char| !it.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest
            .find(|it: char| it.is_ascii_digit())
            .unwrap_or(rest.len());
        let one = match &rest[..letters] {
            "ms" => Duration::from_millis(number),
            "s" => Duration::from_secs(number),
            "m" => Duration::from_secs(number.checked_mul(60)?),
            "h" => Duration::from_secs(number.checked_mul(3600)?),
            _ => return None,
        };
        total = total.checked_add(one)?;
        rest = &rest[letters..];
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{parse, text};

    #[test]
    fn what_is_written_can_be_read() {
        for (milliseconds, expected) in [
            (0, "0s"),
            (50, "50ms"),
            (2000, "2s"),
            (604_800_000, "604800s"),
            (1001, "1001ms"),
        ] {
            let duration = Duration::from_millis(milliseconds);
            assert_eq!(text(duration), expected);
            assert_eq!(parse(expected), Some(duration));
        }
        assert_eq!(text(Duration::from_nanos(1)), "1ms");
        assert_eq!(parse("1h30m"), Some(Duration::from_secs(5400)));
        for wrong in ["", "zz", "90", "1d", "5", "s"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
