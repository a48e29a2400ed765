//! Which settings of a rule are allowed, and how a change applies to it.

use std::ops::RangeInclusive;

use hogsend_mime as mime;

use super::Kind;
use crate::db::AlertRule;
use crate::foreign::{Issue, one_of};
use crate::webhooks::{Poster, check_url, new_secret};

/// Ways to send an alert.
pub const CHANNELS: [&str; 3] = ["webhook", "slack", "email"];

/// Five minutes to a week.
const WINDOW: RangeInclusive<i64> = 5..=10_080;
const COOLDOWN: RangeInclusive<i64> = 1..=10_080;
const MINIMUM: RangeInclusive<i64> = 1..=1_000_000_000;

/// What to set of a rule; `None` keeps the present value.
#[derive(Clone, Debug)]
pub struct RuleChange {
    pub name: Option<String>,
    pub threshold: Option<f64>,
    pub window_minutes: Option<i64>,
    pub minimum: Option<i64>,
    pub cooldown_minutes: Option<i64>,
    pub channel: Option<String>,
    pub target: Option<String>,
    pub enabled: Option<bool>,
}

/// What a rule's target depends on.
#[derive(Clone, Copy)]
pub(super) struct Surroundings<'a> {
    pub poster: &'a Poster,
    /// How many delivery providers take transactional mail, as alerts are.
    pub providers: usize,
}

impl RuleChange {
    /// Applies the change, and adds an issue for each value that is not allowed. Returns the secret of a
    /// new webhook.
    pub(super) fn apply(
        self,
        around: Surroundings<'_>,
        rule: &mut AlertRule,
        issues: &mut Vec<Issue>,
    ) -> Option<String> {
        if let Some(name) = &self.name {
            set_name(name, rule, issues);
        }
        if let Some(threshold) = self.threshold {
            set_threshold(threshold, rule, issues);
        }
        for (path, number, range, field) in [
            (
                "windowMinutes",
                self.window_minutes,
                WINDOW,
                &mut rule.window_minutes,
            ),
            ("minimum", self.minimum, MINIMUM, &mut rule.minimum),
            (
                "cooldownMinutes",
                self.cooldown_minutes,
                COOLDOWN,
                &mut rule.cooldown_minutes,
            ),
        ] {
            if let Some(number) = number {
                set_number((path, number), range, field, issues);
            }
        }
        if let Some(enabled) = self.enabled {
            rule.enabled = enabled;
        }
        set_target((self.channel, self.target), around, rule, issues)
    }
}

fn set_name(name: &str, rule: &mut AlertRule, issues: &mut Vec<Issue>) {
    name.trim().clone_into(&mut rule.name);
    if rule.name.is_empty() || rule.name.chars().count() > 100 {
        issues.push(Issue::new("name", "must have 1 to 100 characters"));
    }
}

fn set_threshold(threshold: f64, rule: &mut AlertRule, issues: &mut Vec<Issue>) {
    let rate = Kind::parse(&rule.kind).is_some_and(Kind::is_rate);
    let (sound, form) = if rate {
        let sound = (0.0..1.0).contains(&threshold);
        (
            sound,
            "must be a fraction from 0 to 1, for example 0.05 for 5%",
        )
    } else {
        let sound = (1.0..=1e9).contains(&threshold) && threshold.fract() == 0.0;
        (sound, "must be a whole number of at least 1")
    };
    if !sound {
        issues.push(Issue::new("threshold", form));
    }
    rule.threshold = threshold;
}

fn set_number(
    (path, number): (&str, i64),
    range: RangeInclusive<i64>,
    field: &mut i32,
    issues: &mut Vec<Issue>,
) {
    match i32::try_from(number) {
        Ok(small) if range.contains(&number) => *field = small,
        _ => {
            let (least, most) = (range.start(), range.end());
            let message = format!("must be a whole number from {least} to {most}");
            issues.push(Issue::new(path, message));
        }
    }
}

/// A new channel needs a new target, and a new target of the channel `webhook` gets a new secret.
fn set_target(
    (channel, target): (Option<String>, Option<String>),
    around: Surroundings<'_>,
    rule: &mut AlertRule,
    issues: &mut Vec<Issue>,
) -> Option<String> {
    if channel.is_none() && target.is_none() {
        return None;
    }
    if let Some(channel) = channel {
        if let Some(issue) = one_of("channel", &channel, &CHANNELS) {
            issues.push(issue);
            return None;
        }
        if channel != rule.channel && target.is_none() {
            issues.push(Issue::new("target", "is required"));
        }
        rule.channel = channel;
    }
    if let Some(target) = target {
        match check_target(around.poster, &rule.channel, &target) {
            Ok(target) => rule.target = target,
            Err(why) => issues.push(Issue::new("target", why)),
        }
    }
    let about_providers = rule.kind == Kind::Providers.name();
    if about_providers && rule.channel == "email" && around.providers < 2 {
        let why = "cannot be email where one delivery provider takes transactional mail: the alert would wait for the provider it is about";
        issues.push(Issue::new("channel", why));
    }
    rule.secret = (rule.channel == "webhook").then(new_secret);
    rule.secret.clone()
}

fn check_target(poster: &Poster, channel: &str, target: &str) -> Result<String, String> {
    if channel == "email" {
        let address = mime::bare_address("target", target);
        return address.map_err(|_| "must be an email address, for example ops@example.com".into());
    }
    check_url(target, poster).map(String::from)
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::ids::AlertRuleId;

    fn rule(kind: Kind) -> AlertRule {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        AlertRule {
            id: AlertRuleId::new(now),
            name: "rule".into(),
            kind: kind.name().into(),
            threshold: kind.usual_threshold(),
            window_minutes: 60,
            minimum: 1,
            cooldown_minutes: 60,
            channel: "slack".into(),
            target: "https://hooks.slack.test/x".into(),
            secret: None,
            enabled: true,
            last_alert_at: None,
            created_at: now,
            updated_at: now,
        }
    }

    #[test]
    fn a_threshold_is_a_fraction_or_a_whole_number() {
        for (kind, threshold, allowed) in [
            (Kind::Bounces, 0.05, true),
            (Kind::Bounces, 1.0, false),
            (Kind::Lag, 300.0, true),
            (Kind::Lag, 0.5, false),
            (Kind::Lag, 0.0, false),
        ] {
            let mut issues = Vec::new();
            set_threshold(threshold, &mut rule(kind), &mut issues);
            assert_eq!(issues.is_empty(), allowed, "{threshold}: {issues:?}");
        }
    }

    #[test]
    fn a_number_out_of_range_keeps_the_present_one() {
        let (mut field, mut issues) = (60, Vec::new());
        set_number(("windowMinutes", 5), WINDOW, &mut field, &mut issues);
        assert_eq!((field, issues.len()), (5, 0));
        set_number(("windowMinutes", 4), WINDOW, &mut field, &mut issues);
        assert_eq!((field, issues.len()), (5, 1));
    }

    #[test]
    fn a_name_has_characters_besides_spaces() {
        let (mut rule, mut issues) = (rule(Kind::Bounces), Vec::new());
        set_name(" Bounces ", &mut rule, &mut issues);
        assert_eq!((rule.name.as_str(), issues.len()), ("Bounces", 0));
        set_name("  ", &mut rule, &mut issues);
        assert_eq!(issues.len(), 1);
    }
}
