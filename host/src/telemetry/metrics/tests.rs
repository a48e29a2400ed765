use std::collections::BTreeSet;

use super::*;

const PAGE: &str = include_str!("../../../../docs/reference/metrics.md");

#[test]
fn the_page_has_the_table() {
    assert!(
        PAGE.contains(&markdown()),
        "docs/reference/metrics.md has another table than\n{}",
        markdown()
    );
}

#[test]
fn names_follow_the_conventions_of_prometheus() {
    let mut names = BTreeSet::new();
    for one in TABLE.iter().map(|one| one.about()) {
        let name = one.name;
        assert!(names.insert(name), "{name} is there twice");
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
        assert!(
            name.starts_with("hogsend_") && name.bytes().all(plain),
            "{name}"
        );
        assert_eq!(
            name.ends_with("_total"),
            one.kind == Kind::Counter,
            "{name}"
        );
        let unit = ["_seconds", "_bytes", "_events"]
            .iter()
            .any(|unit| name.ends_with(unit));
        assert!(
            !matches!(one.kind, Kind::Histogram(_)) || unit,
            "{name} has no unit"
        );
        assert!(
            !one.help.ends_with('.') && !one.help.contains('\n'),
            "{name}"
        );
        for label in one.labels {
            assert!(
                !["le", "job", "instance"].contains(label),
                "{name}: {label} is taken"
            );
        }
        if let Kind::Histogram(buckets) = one.kind {
            assert!(buckets.is_sorted() && !buckets.is_empty(), "{name}");
        }
    }
}

#[tokio::test]
async fn what_is_recorded_is_shown_and_a_flood_of_labels_is_not() {
    install();
    install();
    static FLOODED: Counter = Counter::new("hogsend_test_total", &["name"], "for a test");
    for n in 0..5_000 {
        FLOODED.add(&[&n.to_string()], 1);
    }
    HTTP_REQUESTS.add(&["GET", "/a/{id}", "200"], 2);
    HTTP_REQUESTS.add(&["GET", "/a/{id}", "200"], 1);
    HTTP_SECONDS.record(&["GET", "/a/{id}"], 0.2);
    PROVIDER_UP.set(&["one"], 1.0);
    PROVIDER_UP.forget();
    let text = render();
    let has = |line: &str| {
        assert!(
            text.lines().any(|one| one == line),
            "{line} is not in\n{text}"
        );
    };
    has(r#"hogsend_http_requests_total{method="GET",route="/a/{id}",status="200"} 3"#);
    has(
        r#"hogsend_http_request_duration_seconds_bucket{method="GET",route="/a/{id}",le="0.25"} 1"#,
    );
    has(r#"hogsend_http_request_duration_seconds_bucket{method="GET",route="/a/{id}",le="0.1"} 0"#);
    has("# TYPE hogsend_http_request_duration_seconds histogram");
    has(
        "# HELP hogsend_provider_up 1 while the provider takes mail, 0 while it rests or is blocked",
    );
    has(r#"hogsend_provider_up{provider="one"} NaN"#);
    has("hogsend_database_transaction_retries_total 0");
    let flooded = text
        .lines()
        .filter(|line| line.starts_with("hogsend_test_total{"));
    assert_eq!(
        flooded.count(),
        2_001,
        "all that were first, and one for the rest"
    );
    has(r#"hogsend_test_total{name="other"} 3000"#);
}

const ALERTS: &str = include_str!("../../../../docs/deploy/alerts.yml");
const DASHBOARD: &str = include_str!("../../../../docs/deploy/grafana-dashboard.json");
const RUNBOOK: &str = include_str!("../../../../docs/operate.md");

/// What an expression of Prometheus says about metrics and labels that do not exist.
fn unknown(expression: &str) -> Vec<String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut unknown = Vec::new();
    let mut known_labels: BTreeSet<&str> = ["job", "instance", "le"].into();
    for (at, _) in expression.match_indices("hogsend_") {
        if expression[..at].ends_with(word) {
            continue;
        }
        let rest = &expression[at..];
        let (name, rest) = rest.split_at(rest.find(|c| !word(c)).unwrap_or(rest.len()));
        let metric = TABLE
            .iter()
            .map(|one| one.about())
            .find(|one| match one.kind {
                Kind::Histogram(_) => ["_bucket", "_sum", "_count"]
                    .iter()
                    .any(|end| name.strip_suffix(end) == Some(one.name)),
                _ => one.name == name,
            });
        let Some(metric) = metric else {
            unknown.push(name.to_owned());
            continue;
        };
        known_labels.extend(metric.labels);
        let matchers = rest.strip_prefix('{').and_then(|rest| rest.split_once('}'));
        for matcher in matchers.map_or("", |(inside, _)| inside).split(',') {
            let label = matcher.split(['=', '!']).next().unwrap_or_default().trim();
            if !label.is_empty()
                && !metric.labels.contains(&label)
                && !["job", "instance", "le"].contains(&label)
            {
                unknown.push(format!("{name}{{{label}}}"));
            }
        }
    }
    for part in expression.split("by (").skip(1) {
        let labels = part.split(')').next().unwrap_or_default();
        let labels = labels
            .split(',')
            .map(str::trim)
            .filter(|label| !label.is_empty());
        unknown.extend(
            labels
                .filter(|label| !known_labels.contains(label))
                .map(str::to_owned),
        );
    }
    unknown
}

#[test]
fn expressions_are_read_as_prometheus_reads_them() {
    assert!(unknown(r#"sum by (route, le) (rate(hogsend_http_request_duration_seconds_bucket{job="a"}[5m]))"#).is_empty());
    assert_eq!(
        unknown("hogsend_http_request_duration_seconds > 1"),
        ["hogsend_http_request_duration_seconds"]
    );
    assert_eq!(
        unknown(r#"hogsend_runs{journey="a",kind="b"}"#),
        ["hogsend_runs{kind}"]
    );
    assert_eq!(unknown("sum by (source) (hogsend_runs)"), ["source"]);
}

/// The anchor of a heading, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase().replace(' ', "-");
    kept.chars()
        .filter(|c| c.is_alphanumeric() || *c == '-')
        .collect()
}

#[test]
fn each_alert_uses_metrics_that_exist_and_names_a_section_of_the_runbook() {
    let rules: serde_json::Value = serde_norway::from_str(ALERTS).unwrap();
    let rules = rules["groups"][0]["rules"].as_array().unwrap();
    assert!(rules.len() > 15);
    let (_, runbook) = RUNBOOK.split_once("\n## Runbook\n").unwrap();
    let sections: BTreeSet<String> = runbook
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .map(anchor)
        .collect();
    let mut named = BTreeSet::new();
    for rule in rules {
        let alert = rule["alert"].as_str().unwrap();
        let expression = rule["expr"].as_str().unwrap();
        assert!(
            unknown(expression).is_empty(),
            "{alert}: {:?}",
            unknown(expression)
        );
        assert!(rule["annotations"]["summary"].is_string(), "{alert}");
        assert!(
            ["critical", "warning", "info"].contains(&rule["labels"]["severity"].as_str().unwrap()),
            "{alert}"
        );
        let link = rule["annotations"]["runbook"].as_str().unwrap();
        let section = link.strip_prefix("docs/operate.md#").unwrap();
        assert!(
            sections.contains(section),
            "{alert} names {section}, which is not in {sections:?}"
        );
        named.insert(section.to_owned());
    }
    assert_eq!(named, sections, "each section has an alert");
}

#[test]
fn the_dashboard_uses_metrics_that_exist_and_shows_each() {
    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut ids = BTreeSet::new();
    let mut shown = String::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_i64().unwrap()));
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().unwrap();
            assert!(
                unknown(expression).is_empty(),
                "{}: {:?}",
                panel["title"],
                unknown(expression)
            );
            shown += expression;
        }
    }
    for one in TABLE.iter().map(|one| one.about()) {
        assert!(shown.contains(one.name), "no panel shows {}", one.name);
    }
}
