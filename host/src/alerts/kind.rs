//! The figures that alert rules watch.

use strum::{EnumString, IntoStaticStr, VariantNames};

use crate::db::AlertFigure;

/// The current value of a figure.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    pub value: f64,
    /// The number of cases the value is computed from.
    pub cases: i64,
    /// The subject, where the kind alone does not say it.
    pub what: String,
}

/// The figure a rule compares with its threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr, VariantNames)]
pub enum Kind {
    /// Share of sent mails that bounced.
    #[strum(serialize = "bounce_rate_exceeded")]
    Bounces,
    /// Runs that failed or are stuck.
    #[strum(serialize = "journey_failure_spike")]
    JourneyFailures,
    /// Share of attempted mails that no provider accepted.
    #[strum(serialize = "delivery_issue")]
    Delivery,
    /// Share of sent mails with a complaint.
    #[strum(serialize = "high_complaint_rate")]
    Complaints,
    /// Providers that accept no mail until an operator acts.
    #[strum(serialize = "provider_blocked")]
    Providers,
    /// Seconds that the oldest due work has waited.
    #[strum(serialize = "queue_lag")]
    Lag,
    /// Seconds without a worker's heartbeat.
    #[strum(serialize = "no_worker")]
    Workers,
    /// Enrolments into one journey.
    #[strum(serialize = "enrolment_spike")]
    Enrolments,
}

impl Kind {
    pub fn name(self) -> &'static str {
        self.into()
    }

    pub fn parse(name: &str) -> Option<Self> {
        name.parse().ok()
    }

    /// Whether its threshold is a fraction of cases that has to be exceeded; otherwise it is a
    /// number, and reaching it is enough.
    pub fn is_rate(self) -> bool {
        matches!(self, Self::Bounces | Self::Delivery | Self::Complaints)
    }

    /// Default threshold. Gmail and Yahoo require complaint rates below 0.3 % and recommend below
    /// 0.1 % (<https://support.google.com/a/answer/81126>); delivery providers suspend senders with
    /// bounce rates of 5 % and more.
    pub fn usual_threshold(self) -> f64 {
        match self {
            Self::Bounces => 0.05,
            Self::JourneyFailures => 5.0,
            Self::Delivery => 0.1,
            Self::Complaints => 0.001,
            Self::Providers => 1.0,
            Self::Lag => 300.0,
            Self::Workers => 120.0,
            Self::Enrolments => 1_000.0,
        }
    }

    /// Default minimum number of cases, below which a rate is noise.
    pub fn usual_minimum(self) -> i32 {
        match self {
            Self::JourneyFailures
            | Self::Providers
            | Self::Lag
            | Self::Workers
            | Self::Enrolments => 1,
            Self::Bounces | Self::Delivery => 50,
            Self::Complaints => 1_000,
        }
    }

    /// The value and the number of cases, from the counts in the ledgers.
    pub fn value(self, figure: &AlertFigure) -> (f64, i64) {
        let rate = |part: i64, all: i64| {
            let rate = if all == 0 {
                0.0
            } else {
                part as f64 / all as f64
            };
            (rate, all)
        };
        match self {
            Self::Bounces => rate(figure.bounced, figure.sent),
            Self::Complaints => rate(figure.complained, figure.sent),
            Self::Delivery => rate(figure.undelivered, figure.sent + figure.undelivered),
            Self::JourneyFailures => (figure.broken_runs as f64, figure.broken_runs),
            // Not derived from these counts.
            Self::Providers | Self::Lag | Self::Workers | Self::Enrolments => (0.0, 0),
        }
    }

    /// The alert's text for administrators.
    pub fn describe(self, seen: &Seen, threshold: f64, window_minutes: i32) -> String {
        let Seen { value, cases, what } = seen;
        let value = *value;
        let window = window(window_minutes);
        let percent = |rate: f64| {
            let text = format!("{:.2}", rate * 100.0);
            format!("{}%", text.trim_end_matches('0').trim_end_matches('.'))
        };
        let (value_percent, limit) = (percent(value), percent(threshold));
        match self {
            Self::Bounces => format!(
                "{value_percent} of the {cases} mails sent within {window} bounced, more than {limit}"
            ),
            Self::Complaints => format!(
                "{value_percent} of the {cases} mails sent within {window} drew complaints, more than {limit}"
            ),
            Self::Delivery => format!(
                "{value_percent} of the {cases} mails tried within {window} could not be handed over, more than {limit}"
            ),
            Self::JourneyFailures => format!(
                "{value} journey runs failed or got stuck within {window} (threshold: {threshold})"
            ),
            Self::Providers => {
                format!("{value} of {cases} delivery providers take no mail: {what}")
            }
            Self::Lag => format!(
                "{what} have waited for {value} s, {cases} are due (threshold: {threshold} s)"
            ),
            Self::Workers => format!(
                "no worker has been seen for {value} s: runs and mails wait until `hogsend worker` runs"
            ),
            Self::Enrolments => format!(
                "{value} people entered the journey '{what}' within {window} (threshold: {threshold})"
            ),
        }
    }

    /// Whether this is worth an alert.
    pub fn exceeds(self, value: f64, cases: i64, threshold: f64, minimum: i32) -> bool {
        match self {
            _ if self.is_rate() => cases >= i64::from(minimum) && value > threshold,
            _ => value >= threshold,
        }
    }
}

fn window(minutes: i32) -> String {
    let (count, unit) = match minutes {
        m if m % 1_440 == 0 => (m / 1_440, "day"),
        m if m % 60 == 0 => (m / 60, "hour"),
        m => (m, "minute"),
    };
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_need_cases_and_counts_need_none() {
        let figure = AlertFigure {
            sent: 200,
            bounced: 12,
            complained: 1,
            undelivered: 50,
            broken_runs: 5,
        };
        let value = |kind: Kind| kind.value(&figure);
        assert_eq!(value(Kind::Bounces), (0.06, 200));
        assert_eq!(value(Kind::Complaints), (0.005, 200));
        assert_eq!(value(Kind::Delivery), (0.2, 250));
        assert_eq!(value(Kind::JourneyFailures), (5.0, 5));
        assert!(Kind::Bounces.exceeds(0.06, 200, 0.05, 50));
        assert!(!Kind::Bounces.exceeds(0.05, 200, 0.05, 50));
        assert!(!Kind::Bounces.exceeds(1.0, 49, 0.05, 50));
        assert!(Kind::JourneyFailures.exceeds(5.0, 5, 5.0, 50));
        assert_eq!(Kind::Bounces.value(&AlertFigure::default()), (0.0, 0));
    }

    #[test]
    fn an_alert_reads_as_a_sentence() {
        for (kind, value, expected) in [
            (
                Kind::Bounces,
                0.0612,
                "6.12% of the 200 mails sent within 1 hour bounced, more than 5%",
            ),
            (
                Kind::JourneyFailures,
                7.0,
                "7 journey runs failed or got stuck within 1 hour (threshold: 5)",
            ),
            (
                Kind::Enrolments,
                1_200.0,
                "1200 people entered the journey 'welcome' within 1 hour (threshold: 1000)",
            ),
        ] {
            let threshold = kind.usual_threshold();
            let seen = Seen {
                value,
                cases: 200,
                what: "welcome".into(),
            };
            assert_eq!(kind.describe(&seen, threshold, 60), expected);
        }
        assert_eq!(window(2_880), "2 days");
        assert_eq!(window(90), "90 minutes");
    }
}
