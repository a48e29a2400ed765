//! Instants by the local time in a time zone.

use chrono::{DateTime, Datelike as _, Days, LocalResult, NaiveDate, NaiveDateTime, NaiveTime};
use chrono::{TimeDelta, TimeZone as _, Utc};
use chrono_tz::Tz;
use hogsend_plugin_api::StepError;
use hogsend_plugin_api::journey::{WhenArgs, step};

/// The instant that the inputs of a `when` step mean at `now` in a time zone.
///
/// # Errors
///
/// `time_invalid` where an hour is above 23, a minute above 59, or the instant beyond chrono's range;
/// `not_supported` for inputs of a later version.
pub fn resolve(args: &WhenArgs, now: DateTime<Utc>, zone: Tz) -> Result<DateTime<Utc>, StepError> {
    let today = now.with_timezone(&zone).date_naive();
    match *args {
        WhenArgs::Tomorrow { hour, minute, .. } => {
            let date = later(today, 1)?;
            instant(date.and_time(time(hour, minute)?), zone)
        }
        WhenArgs::Next {
            weekday,
            hour,
            minute,
            ..
        } => {
            let time = time(hour, minute)?;
            let ahead = weekday.days_since(today.weekday());
            first_after(now, later(today, u64::from(ahead))?, 7, time, zone)
        }
        WhenArgs::In {
            ms, hour, minute, ..
        } => {
            let time = time(hour, minute)?;
            let end = i64::try_from(ms)
                .ok()
                .and_then(TimeDelta::try_milliseconds)
                .and_then(|wait| now.checked_add_signed(wait))
                .ok_or_else(beyond)?;
            let date = end.with_timezone(&zone).date_naive();
            first_after(end, date, 1, time, zone)
        }
        WhenArgs::Window { start, end, .. } => {
            let (start, end) = (time(start.0, start.1)?, time(end.0, end.1)?);
            let clock = now.with_timezone(&zone).time();
            let open = if start <= end {
                start <= clock && clock < end
            } else {
                start <= clock || clock < end
            };
            // A window of length zero is always open.
            if open || start == end {
                return Ok(now);
            }
            first_after(now, today, 1, start, zone)
        }
        _ => Err(StepError::not_supported(step::WHEN)),
    }
}

/// `date` at `time`, or where that is before `earliest`, `step` days later.
fn first_after(
    earliest: DateTime<Utc>,
    date: NaiveDate,
    step: u64,
    time: NaiveTime,
    zone: Tz,
) -> Result<DateTime<Utc>, StepError> {
    let found = instant(date.and_time(time), zone)?;
    if found >= earliest {
        return Ok(found);
    }
    instant(later(date, step)?.and_time(time), zone)
}

/// The first instant with this local time, or the first one after a gap that skips it.
fn instant(mut local: NaiveDateTime, zone: Tz) -> Result<DateTime<Utc>, StepError> {
    // The longest gap so far was a day, when Samoa crossed the date line in 2011.
    for _ in 0..=48 * 60 {
        match zone.from_local_datetime(&local) {
            LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => {
                return Ok(at.with_timezone(&Utc));
            }
            LocalResult::None => local += TimeDelta::minutes(1),
        }
    }
    Err(beyond())
}

fn time(hour: u32, minute: u32) -> Result<NaiveTime, StepError> {
    NaiveTime::from_hms_opt(hour, minute, 0).ok_or_else(|| {
        let message = format!("there is no {hour}:{minute:02} on a clock of 24 hours");
        StepError::new("time_invalid", message)
    })
}

fn later(date: NaiveDate, days: u64) -> Result<NaiveDate, StepError> {
    date.checked_add_days(Days::new(days)).ok_or_else(beyond)
}

fn beyond() -> StepError {
    StepError::new("time_invalid", "that is beyond the end of the calendar")
}

#[cfg(test)]
mod tests {
    use chrono::Weekday;

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn found(args: WhenArgs, now: &str, zone: Tz) -> DateTime<Utc> {
        resolve(&args, at(now), zone).unwrap()
    }

    #[test]
    fn days_are_those_of_the_person() {
        let tomorrow = WhenArgs::tomorrow(9, 0);
        // It is already the 2nd in Tokyo.
        let tokyo = found(tomorrow.clone(), "2026-03-01T20:00:00Z", Tz::Asia__Tokyo);
        assert_eq!(tokyo, at("2026-03-03T00:00:00Z"));
        let york = found(tomorrow, "2026-03-01T20:00:00Z", Tz::America__New_York);
        assert_eq!(york, at("2026-03-02T14:00:00Z"));
    }

    #[test]
    fn the_next_monday_may_be_today() {
        let monday = |now| {
            let args = WhenArgs::next(Weekday::Mon, 9, 0);
            found(args, now, Tz::Europe__Berlin)
        };
        // 2026-06-01 is a Monday; nine in Berlin is seven in summer.
        assert_eq!(monday("2026-06-01T06:00:00Z"), at("2026-06-01T07:00:00Z"));
        assert_eq!(monday("2026-06-01T07:30:00Z"), at("2026-06-08T07:00:00Z"));
        assert_eq!(monday("2026-06-03T07:30:00Z"), at("2026-06-08T07:00:00Z"));
    }

    #[test]
    fn clocks_that_change_are_followed() {
        // Berlin goes from 2:00 to 3:00 on 2026-03-29, and from 3:00 to 2:00 on 2026-10-25.
        let tomorrow =
            |hour, minute, now| found(WhenArgs::tomorrow(hour, minute), now, Tz::Europe__Berlin);
        let skipped = tomorrow(2, 30, "2026-03-28T12:00:00Z");
        assert_eq!(
            skipped,
            at("2026-03-29T01:00:00Z"),
            "three o'clock, when the gap ends"
        );
        let twice = tomorrow(2, 30, "2026-10-24T12:00:00Z");
        assert_eq!(twice, at("2026-10-25T00:30:00Z"), "the first half past two");
        assert_eq!(
            tomorrow(9, 0, "2026-03-28T12:00:00Z"),
            at("2026-03-29T07:00:00Z")
        );
        assert_eq!(
            tomorrow(9, 0, "2026-10-24T12:00:00Z"),
            at("2026-10-25T08:00:00Z")
        );
    }

    #[test]
    fn a_skipped_day_is_passed_over() {
        let args = WhenArgs::tomorrow(9, 0);
        let samoa = found(args, "2011-12-29T20:00:00Z", Tz::Pacific__Apia);
        assert_eq!(samoa, at("2011-12-30T10:00:00Z"), "midnight of the 31st");
    }

    #[test]
    fn durations_end_on_a_day_and_never_early() {
        let in_two_days = |now| {
            let args = WhenArgs::after(2 * 86_400_000, 9, 0);
            found(args, now, Tz::UTC)
        };
        assert_eq!(
            in_two_days("2026-06-01T08:00:00Z"),
            at("2026-06-03T09:00:00Z")
        );
        assert_eq!(
            in_two_days("2026-06-01T10:00:00Z"),
            at("2026-06-04T09:00:00Z")
        );
    }

    #[test]
    fn windows_are_open_or_open_next() {
        let day = WhenArgs::window((9, 0), (17, 0));
        assert_eq!(
            found(day.clone(), "2026-06-01T12:00:00Z", Tz::UTC),
            at("2026-06-01T12:00:00Z")
        );
        assert_eq!(
            found(day.clone(), "2026-06-01T17:00:00Z", Tz::UTC),
            at("2026-06-02T09:00:00Z")
        );
        assert_eq!(
            found(day, "2026-06-01T03:00:00Z", Tz::UTC),
            at("2026-06-01T09:00:00Z")
        );
        let night = WhenArgs::window((22, 0), (6, 0));
        assert_eq!(
            found(night.clone(), "2026-06-01T23:00:00Z", Tz::UTC),
            at("2026-06-01T23:00:00Z")
        );
        assert_eq!(
            found(night.clone(), "2026-06-01T05:59:00Z", Tz::UTC),
            at("2026-06-01T05:59:00Z")
        );
        assert_eq!(
            found(night, "2026-06-01T06:00:00Z", Tz::UTC),
            at("2026-06-01T22:00:00Z")
        );
    }

    #[test]
    fn times_that_do_not_exist_are_errors() {
        let wrong = resolve(
            &WhenArgs::tomorrow(24, 0),
            at("2026-06-01T00:00:00Z"),
            Tz::UTC,
        );
        assert_eq!(wrong.unwrap_err().code, "time_invalid");
        let far = WhenArgs::after(u64::MAX, 0, 0);
        assert_eq!(
            resolve(&far, at("2026-06-01T00:00:00Z"), Tz::UTC)
                .unwrap_err()
                .code,
            "time_invalid"
        );
    }
}
