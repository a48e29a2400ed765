//! The event file of a simulation: one JSON object per line.

use std::path::Path;

use anyhow::Context;
use chrono::{DateTime, TimeDelta, Utc};
use hogsend_plugin_api::Properties;
use hogsend_plugin_kit::beginning;
use serde::Deserialize;
use serde_json::Value;

use crate::durations;

/// A line of the file, with its time.
#[derive(Debug)]
pub struct Scene {
    /// The line number, from 1.
    pub line: usize,
    pub at: DateTime<Utc>,
    pub what: Line,
}

/// A line of the file.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Line {
    at: Option<DateTime<Utc>>,
    after: Option<String>,
    pub event: Option<String>,
    pub user_id: Option<String>,
    pub email: Option<String>,
    #[serde(default)]
    pub properties: Properties,
    #[serde(default)]
    pub contact_properties: Properties,
    /// The event comes from an untrusted source.
    #[serde(default)]
    pub untrusted: bool,
    /// The event is stored as history only.
    #[serde(default)]
    pub historical: bool,
    /// When the event occurred, if it arrives later.
    pub occurred_at: Option<DateTime<Utc>>,
    pub unsubscribe: Option<String>,
    pub resubscribe: Option<String>,
    /// The template of a mail that the contact opens.
    pub opened: Option<String>,
    /// The template of a mail in which the contact clicks a link.
    pub clicked: Option<String>,
    /// The response to requests of journeys from now on.
    pub answer: Option<Answer>,
}

/// The response to requests whose URL begins with `url`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    pub url: String,
    pub status: u16,
    /// JSON; a string is sent as it is.
    #[serde(default)]
    pub body: Value,
}

/// Reads the file. Returns the lines ordered by time, and the start of the simulation: the earliest
/// `at`, or else the beginning of 2026. `after` counts from the start; a line with neither happens at
/// the same time as the line before.
pub fn read(path: &Path) -> anyhow::Result<(DateTime<Utc>, Vec<Scene>)> {
    let text = if is_stdin(path) {
        std::io::read_to_string(std::io::stdin()).context("cannot read standard input")?
    } else {
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?
    };
    parse(&text).map_err(|problems| {
        let lines: Vec<String> = problems
            .iter()
            .map(|(line, problem)| format!("\n  {}:{line}: {problem}", name(path)))
            .collect();
        anyhow::anyhow!("the events cannot be simulated:{}", lines.concat())
    })
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// The name of the file in messages.
pub fn name(path: &Path) -> String {
    if is_stdin(path) {
        "standard input".to_owned()
    } else {
        path.display().to_string()
    }
}

type Problems = Vec<(usize, String)>;

fn parse(text: &str) -> Result<(DateTime<Utc>, Vec<Scene>), Problems> {
    let mut problems = Vec::new();
    let mut lines = Vec::new();
    for (number, text) in text.lines().enumerate() {
        if text.trim().is_empty() {
            continue;
        }
        match line(text) {
            Ok(line) => lines.push((number + 1, line)),
            Err(problem) => problems.push((number + 1, problem)),
        }
    }
    let begins = lines.iter().filter_map(|(_, (line, _))| line.at).min();
    let begins = begins.unwrap_or_else(beginning);
    let mut scenes: Vec<Scene> = Vec::new();
    for (number, (line, after)) in lines {
        let before = scenes.last().map_or(begins, |scene| scene.at);
        let at = match (line.at, after) {
            (Some(at), _) => Some(at),
            (None, Some(after)) => begins.checked_add_signed(after),
            (None, None) => Some(before),
        };
        match at {
            Some(at) => scenes.push(Scene {
                line: number,
                at,
                what: line,
            }),
            None => problems.push((number, "`after` is beyond the end of the calendar".into())),
        }
    }
    if problems.is_empty() {
        scenes.sort_by_key(|scene| scene.at);
        Ok((begins, scenes))
    } else {
        problems.sort();
        Err(problems)
    }
}

fn line(text: &str) -> Result<(Line, Option<TimeDelta>), String> {
    let mut json = serde_json::Deserializer::from_str(text);
    let line: Line = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        // Drop the line number within this one line.
        let message = error.into_inner().to_string();
        let message = message.split(" at line ").next().unwrap_or_default();
        match path.as_str() {
            "." => format!("is not a JSON object: {message}"),
            path => format!("{path}: {message}"),
        }
    })?;
    json.end().map_err(|_| {
        "there is more than one JSON object: put each on a line of its own".to_owned()
    })?;
    if line.at.is_some() && line.after.is_some() {
        return Err("`at` and `after` exclude each other: leave one out".into());
    }
    let after = line.after.as_deref().map(|text| {
        let length = durations::parse(text).and_then(|length| TimeDelta::from_std(length).ok());
        length.ok_or_else(|| format!("`after` is '{text}': use a form like 2d3h or 90m"))
    });
    let after = after.transpose()?;
    let empty = |text: &Option<String>| text.as_ref().is_some_and(|text| text.trim().is_empty());
    let texts = [
        ("event", &line.event),
        ("userId", &line.user_id),
        ("email", &line.email),
        ("unsubscribe", &line.unsubscribe),
        ("resubscribe", &line.resubscribe),
        ("opened", &line.opened),
        ("clicked", &line.clicked),
    ];
    if let Some((name, _)) = texts.iter().find(|(_, text)| empty(text)) {
        return Err(format!(
            "`{name}` is empty: give it a value or leave it out"
        ));
    }
    let says = line.event.is_some()
        || line.unsubscribe.is_some()
        || line.resubscribe.is_some()
        || line.opened.is_some()
        || line.clicked.is_some()
        || line.answer.is_some()
        || !line.contact_properties.is_empty();
    if !says {
        return Err(
            "nothing happens: give `event`, `contactProperties`, `unsubscribe`, `resubscribe`, \
             `opened`, `clicked` or `answer`"
                .into(),
        );
    }
    let of_events = [
        ("untrusted", line.untrusted),
        ("historical", line.historical),
        ("occurredAt", line.occurred_at.is_some()),
    ];
    let given = of_events.iter().find(|(_, given)| *given);
    if let (None, Some((name, _))) = (&line.event, given) {
        return Err(format!("`{name}` belongs to an event: add `event`"));
    }
    if line.event.is_none() && !line.properties.is_empty() {
        return Err(
            "`properties` belong to an event: add `event`, or use `contactProperties`".into(),
        );
    }
    Ok((line, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_put_in_order() {
        let text = r#"{"event":"late","after":"2d"}

            {"event":"with it"}
            {"event":"first","at":"2026-03-01T10:00:00+01:00","userId":"ada"}"#;
        let (begins, scenes) = parse(text).unwrap();
        assert_eq!(begins.to_rfc3339(), "2026-03-01T09:00:00+00:00");
        let order: Vec<_> = scenes
            .iter()
            .map(|scene| (scene.line, scene.what.event.as_deref().unwrap()))
            .collect();
        assert_eq!(order, [(4, "first"), (1, "late"), (3, "with it")]);
        assert_eq!(scenes[2].at, begins + TimeDelta::days(2));
    }

    #[test]
    fn every_bad_line_is_named_with_its_fix() {
        let text = "{\"event\":\"a\",\"after\":\"soon\"}\nnonsense\n{\"evnt\":\"a\"}\n\
                    {\"userId\":\"a\"}\n{\"event\":7}\n{\"event\":\"fine\"}\n\
                    {\"event\":\"a\",\"at\":\"2026-01-01T00:00:00Z\",\"after\":\"1d\"}\n\
                    {\"event\":\"a\"}{\"event\":\"b\"}";
        let problems = parse(text).unwrap_err();
        let lines: Vec<_> = problems.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [1, 2, 3, 4, 5, 7, 8]);
        assert!(problems[0].1.contains("2d3h"), "{}", problems[0].1);
        assert!(
            problems[2].1.contains("unknown field `evnt`"),
            "{}",
            problems[2].1
        );
        assert!(
            problems[3].1.contains("nothing happens"),
            "{}",
            problems[3].1
        );
        assert!(problems[4].1.starts_with("event: "), "{}", problems[4].1);
    }
}
