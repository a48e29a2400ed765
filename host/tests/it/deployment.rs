//! The files for deployments name commands, settings, ports and paths that this binary has.
//!
//! Images, compose files and workflows are only read here: nothing of this runs containers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use hogsend::config::TABLE;
use serde_json::Value;

use crate::support::process::run;

/// Seconds from SIGTERM until a process has ended by itself (`cli/stop.rs`).
const STOPS_WITHIN: i64 = 10;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

fn read(name: &str) -> String {
    let path = root().join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn yaml(name: &str) -> Value {
    let mut value: serde_norway::Value = serde_norway::from_str(&read(name)).unwrap();
    value.apply_merge().unwrap();
    serde_json::to_value(value).unwrap()
}

fn toml(name: &str) -> Value {
    toml::from_str(&read(name)).unwrap()
}

/// The commands of the binary.
fn commands() -> BTreeSet<String> {
    let (code, help) = run(&std::env::temp_dir(), &["help"], &[]);
    assert_eq!(code, Some(0), "{help}");
    let listed = help.split("Commands:").nth(1).unwrap();
    let listed = listed.split("\n\n").next().unwrap().lines();
    let first = listed.filter_map(|line| line.split_whitespace().next());
    first.map(str::to_owned).collect()
}

/// Fails unless a command line calls a command of the binary: `hogsend api`, `/usr/local/bin/hogsend api`.
fn is_command(line: &str, commands: &BTreeSet<String>) {
    let mut words = line.split_whitespace();
    let program = words.next().unwrap_or_default();
    assert!(program.ends_with("hogsend"), "{line}");
    let command = words.next().unwrap_or_default();
    assert!(commands.contains(command), "{line} is not a command");
}

fn is_variable(name: &str) {
    assert!(
        TABLE.iter().any(|one| one.name == name),
        "{name} is not a setting"
    );
}

fn default_of(name: &str) -> &'static str {
    TABLE.iter().find(|one| one.name == name).unwrap().default
}

/// The paths of the HTTP API.
fn is_path(path: &str) {
    let document = serde_json::to_value(hogsend::http::document()).unwrap();
    assert!(
        document["paths"].get(path).is_some(),
        "{path} is not a path"
    );
}

/// Fails unless an image has a tag that names one version: no `latest`, no major version alone.
fn is_pinned(image: &str) {
    let tag = image
        .rsplit_once(':')
        .map(|(_, tag)| tag)
        .unwrap_or_default();
    let parts: Vec<&str> = tag.trim_start_matches('v').split(['-', '.']).collect();
    let is_number = |part: &&str| part.parse::<u32>().is_ok();
    let has_version = parts.iter().take(2).filter(|part| is_number(part)).count() == 2;
    // Of a distribution, the day its packages are of.
    let has_day = parts.iter().any(|part| part.len() == 8 && is_number(part));
    assert!(has_version || has_day, "{image} is not pinned to a version");
}

fn text<'a>(value: &'a Value, at: &str) -> &'a str {
    value
        .pointer(at)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

#[test]
fn railway_builds_migrates_starts_and_drains() {
    let commands = commands();
    let api = toml("railway.toml");
    let worker = toml("railway.worker.toml");
    for config in [&api, &worker] {
        assert_eq!(config["build"]["builder"], "DOCKERFILE");
        assert!(root().join(text(config, "/build/dockerfilePath")).is_file());
        for pattern in config["build"]["watchPatterns"].as_array().unwrap() {
            let pattern = pattern.as_str().unwrap().trim_start_matches('/');
            let fixed = pattern
                .split(['*'])
                .next()
                .unwrap()
                .trim_end_matches(['/', '.']);
            let there = std::fs::read_dir(root()).unwrap().any(|entry| {
                entry
                    .unwrap()
                    .file_name()
                    .to_string_lossy()
                    .starts_with(fixed)
            });
            assert!(there, "{pattern} matches nothing");
        }
        is_command(text(config, "/deploy/startCommand"), &commands);
        assert_eq!(config["deploy"]["restartPolicyType"], "ON_FAILURE");
        assert!(config["deploy"]["drainingSeconds"].as_i64().unwrap() > STOPS_WITHIN);
    }
    assert_eq!(text(&api, "/deploy/startCommand"), "hogsend api");
    assert_eq!(text(&worker, "/deploy/startCommand"), "hogsend worker");
    assert_eq!(
        api["deploy"]["preDeployCommand"],
        serde_json::json!(["hogsend migrate"])
    );
    is_path(text(&api, "/deploy/healthcheckPath"));
    assert_eq!(api["deploy"]["healthcheckTimeout"], 120);
    assert_eq!(api["deploy"]["restartPolicyMaxRetries"], 3);
    assert_eq!(worker["deploy"]["restartPolicyMaxRetries"], 5);
    // The worker serves nothing and never migrates.
    for key in ["healthcheckPath", "preDeployCommand"] {
        assert!(worker["deploy"].get(key).is_none(), "{key}");
    }
}

#[test]
fn compose_starts_the_product_with_its_stores() {
    let commands = commands();
    let compose = yaml("docker-compose.yml");
    let services = compose["services"].as_object().unwrap();
    let names: Vec<&str> = services.keys().map(String::as_str).collect();
    assert_eq!(
        BTreeSet::from_iter(names),
        BTreeSet::from([
            "api",
            "hatchet",
            "hatchet-postgres",
            "migrate",
            "postgres",
            "redis",
            "worker"
        ])
    );
    let volumes = compose["volumes"].as_object().unwrap();
    for (name, service) in services {
        let image = service["image"].as_str().unwrap();
        if service.get("build").is_none() {
            is_pinned(image);
        }
        for volume in service
            .get("volumes")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let volume = volume.as_str().unwrap().split(':').next().unwrap();
            assert!(
                volumes.contains_key(volume),
                "{name}: {volume} is no named volume"
            );
        }
        if name != "migrate" {
            let test = &service["healthcheck"]["test"];
            assert!(
                test.as_array().is_some_and(|test| test.len() > 1),
                "{name} has no health check"
            );
        }
        for port in service
            .get("ports")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            assert!(
                port.as_str().unwrap().starts_with("127.0.0.1:"),
                "{name}: {port} is open to others"
            );
        }
        let optional = name.starts_with("hatchet");
        assert_eq!(service.get("profiles").is_some(), optional, "{name}");
        for needed in service
            .get("depends_on")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            assert!(
                services.contains_key(needed.0),
                "{name} depends on {}",
                needed.0
            );
        }
    }
    for (name, port) in [
        ("api", "127.0.0.1:3002:3002"),
        ("postgres", "127.0.0.1:5434:5432"),
        ("redis", "127.0.0.1:6380:6379"),
        ("hatchet", "127.0.0.1:8888:8888"),
        ("hatchet", "127.0.0.1:7077:7077"),
    ] {
        let ports = services[name]["ports"].as_array().unwrap();
        assert!(ports.iter().any(|one| one == port), "{name}: {ports:?}");
    }
    assert!(
        services["postgres"]["image"]
            .as_str()
            .unwrap()
            .ends_with("-pg18")
    );
    assert!(
        services["redis"]["image"]
            .as_str()
            .unwrap()
            .starts_with("redis:8.")
    );
    for name in ["migrate", "api", "worker"] {
        let service = &services[name];
        let command = service["command"].as_array().unwrap();
        assert!(
            commands.contains(command[0].as_str().unwrap()),
            "{name}: {command:?}"
        );
        for variable in service["environment"].as_object().unwrap().keys() {
            is_variable(variable);
        }
        let grace = service["stop_grace_period"]
            .as_str()
            .unwrap()
            .trim_end_matches('s');
        assert!(grace.parse::<i64>().unwrap() > STOPS_WITHIN);
        assert_eq!(service["environment"]["NODE_ENV"], "production");
    }
    for name in ["api", "worker"] {
        let service = &services[name];
        assert_eq!(
            service["depends_on"]["migrate"]["condition"],
            "service_completed_successfully"
        );
        let test = service["healthcheck"]["test"].to_string();
        let port = service["environment"]["HEALTH_PORT"].as_str().unwrap();
        assert!(
            test.contains(&format!("/dev/tcp/127.0.0.1/{port}")),
            "{test}"
        );
        let path = test
            .split("GET ")
            .nth(1)
            .and_then(|rest| rest.split(' ').next());
        is_path(path.unwrap());
    }
}

/// The instructions of a Dockerfile by stage, with continued lines joined.
fn stages(name: &str) -> Vec<(String, Vec<(String, String)>)> {
    let text = read(name).replace("\\\n", " ");
    let mut stages: Vec<(String, Vec<(String, String)>)> = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (word, rest) = line.split_once(' ').unwrap();
        if word == "FROM" {
            let name = rest.rsplit_once(" AS ").map_or("", |(_, name)| name);
            stages.push((name.to_owned(), Vec::new()));
        }
        let stage = &mut stages.last_mut().unwrap().1;
        stage.push((word.to_owned(), rest.trim().to_owned()));
    }
    stages
}

#[test]
fn the_image_runs_as_nobody_and_starts_what_the_binary_has() {
    let commands = commands();
    let stages = stages("Dockerfile");
    let by_name: BTreeMap<&str, &Vec<(String, String)>> = stages
        .iter()
        .map(|(name, lines)| (name.as_str(), lines))
        .collect();
    let of = |stage: &str, word: &str| -> Vec<String> {
        let lines = by_name[stage].iter().filter(|line| line.0 == word);
        lines.map(|line| line.1.clone()).collect()
    };
    for (_, lines) in &stages {
        let from = lines[0].1.split(' ').next().unwrap();
        if !by_name.contains_key(from) {
            is_pinned(from);
        }
        let whole: Vec<String> = lines
            .iter()
            .map(|(word, rest)| format!("{word} {rest}"))
            .collect();
        assert!(
            !whole.join("\n").contains("--mount=type=cache"),
            "Railway refuses cache mounts"
        );
    }
    // What a build without --target makes.
    assert_eq!(stages.last().unwrap().0, "production");
    for stage in ["production", "dev"] {
        assert_eq!(of(stage, "FROM"), [format!("base AS {stage}")]);
        assert!(of(stage, "USER").is_empty());
        let command = of(stage, "CMD").concat();
        let command: Vec<String> = serde_json::from_str(&command).unwrap();
        assert!(commands.contains(&command[0]), "{command:?}");
        for pair in of(stage, "ENV").concat().split_whitespace() {
            is_variable(pair.split('=').next().unwrap());
        }
    }
    assert_eq!(of("base", "USER"), ["hogsend"]);
    assert_eq!(of("base", "ENTRYPOINT"), [r#"["hogsend"]"#]);
    assert_eq!(of("base", "EXPOSE"), [default_of("PORT")]);
    assert!(
        of("production", "ENV")
            .concat()
            .contains("NODE_ENV=production")
    );
    assert!(of("dev", "ENV").concat().contains("HOST=0.0.0.0"));
    // Dependencies have a layer of their own, below the sources.
    for stage in ["build", "build-dev"] {
        let words: Vec<&str> = by_name[stage].iter().map(|line| line.1.as_str()).collect();
        let at = |part: &str| words.iter().position(|word| word.contains(part)).unwrap();
        assert!(
            at("cargo chef cook") < at(". .") && at(". .") < at("cargo build"),
            "{words:?}"
        );
    }
}

/// The settings of a systemd unit: section, key, value.
fn unit(name: &str) -> Vec<(String, String, String)> {
    let mut section = String::new();
    let mut all = Vec::new();
    for line in read(name).lines().map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(named) = line
            .strip_prefix('[')
            .and_then(|line| line.strip_suffix(']'))
        {
            named.clone_into(&mut section);
            continue;
        }
        let (key, value) = line
            .split_once('=')
            .unwrap_or_else(|| panic!("{name}: {line}"));
        all.push((section.clone(), key.to_owned(), value.to_owned()));
    }
    all
}

#[test]
fn units_of_systemd_start_the_api_and_the_worker_side_by_side() {
    let commands = commands();
    let mut ports = BTreeSet::new();
    for (file, starts) in [("hogsend-api", "api"), ("hogsend-worker", "worker")] {
        let unit = unit(&format!("docs/deploy/{file}.service"));
        let get = |key: &str| -> Vec<&str> {
            let found = unit
                .iter()
                .filter(|line| line.0 == "Service" && line.1 == key);
            found.map(|line| line.2.as_str()).collect()
        };
        for line in get("ExecStart").iter().chain(&get("ExecStartPre")) {
            is_command(line, &commands);
        }
        assert_eq!(
            get("ExecStart"),
            [format!("/usr/local/bin/hogsend {starts}")]
        );
        assert_eq!(get("ExecStartPre").is_empty(), starts == "worker");
        assert_eq!(get("Restart"), ["on-failure"]);
        // sysexits' EX_CONFIG: starting again does not correct a setting.
        assert_eq!(get("RestartPreventExitStatus"), ["78"]);
        assert!(get("TimeoutStopSec")[0].parse::<i64>().unwrap() > STOPS_WITHIN);
        assert_eq!(get("DynamicUser"), ["yes"]);
        let state = get("StateDirectory")[0];
        for pair in get("Environment").join(" ").split_whitespace() {
            let (name, value) = pair.split_once('=').unwrap();
            is_variable(name);
            if name.ends_with("PORT") {
                assert!(ports.insert(value.to_owned()), "{value} is taken twice");
            }
            if name == "HOGSEND_DATA_DIR" {
                assert_eq!(value, format!("/var/lib/{state}"));
            }
        }
    }
    assert_eq!(
        ports,
        BTreeSet::from(["3002".into(), "3003".into(), "3004".into()])
    );
}

#[test]
fn workflows_pin_what_they_use_and_call_what_is_there() {
    let commands = commands();
    for file in ["ci", "release"] {
        let workflow = yaml(&format!(".github/workflows/{file}.yml"));
        let jobs = workflow["jobs"].as_object().unwrap();
        assert!(workflow.get("permissions").is_some(), "{file}");
        for (name, job) in jobs {
            assert!(
                job["timeout-minutes"].as_i64().is_some(),
                "{name} may run for ever"
            );
            let needs = match &job["needs"] {
                Value::Array(all) => all.iter().filter_map(Value::as_str).collect(),
                Value::String(one) => vec![one.as_str()],
                _ => Vec::new(),
            };
            for needed in needs {
                assert!(jobs.contains_key(needed), "{name} needs {needed}");
            }
            if let Some(image) = job.get("container").and_then(Value::as_str) {
                is_pinned(image);
            }
            for step in job["steps"].as_array().unwrap() {
                if let Some(action) = step.get("uses").and_then(Value::as_str) {
                    let version = action.rsplit_once("@v").map(|(_, version)| version);
                    assert!(
                        version.is_some_and(|one| one.parse::<u32>().is_ok()),
                        "{action}"
                    );
                }
                let script = step.get("run").and_then(Value::as_str).unwrap_or_default();
                for word in script
                    .split_whitespace()
                    .filter(|word| word.starts_with(".github/") || word.starts_with(".ci/"))
                {
                    assert!(root().join(word).is_file(), "{word} does not exist");
                }
            }
        }
    }
    let release = yaml(".github/workflows/release.yml");
    let built: BTreeSet<&str> = ["linux", "macos"]
        .iter()
        .flat_map(|job| {
            release["jobs"][job]["strategy"]["matrix"]["include"]
                .as_array()
                .unwrap()
        })
        .map(|one| one["target"].as_str().unwrap())
        .collect();
    assert_eq!(
        built,
        BTreeSet::from([
            "aarch64-apple-darwin",
            "aarch64-unknown-linux-gnu",
            "x86_64-apple-darwin",
            "x86_64-unknown-linux-gnu",
        ])
    );
    let pack = read(".github/pack");
    let parts: Vec<&str> = pack.split("\"$binary\" ").collect();
    for pair in parts.windows(2) {
        // Copied, not called.
        if pair[0].ends_with("cp ") {
            continue;
        }
        let word = pair[1].split_whitespace().next().unwrap();
        assert!(
            word == "--version" || commands.contains(word),
            ".github/pack calls {word}"
        );
    }
    let syntax = std::process::Command::new("bash")
        .arg("-n")
        .arg(root().join(".github/pack"))
        .status();
    assert!(syntax.unwrap().success());
}

#[test]
fn pages_for_operators_name_only_commands_that_exist() {
    let commands = commands();
    for page in [
        "docs/run-in-production.md",
        "docs/upgrade.md",
        "docs/rotate-secrets.md",
        "README.md",
    ] {
        for quoted in read(page).split('`').skip(1).step_by(2) {
            let Some(rest) = quoted.strip_prefix("hogsend ") else {
                continue;
            };
            let word = rest.split([' ', '|']).next().unwrap();
            assert!(
                commands.contains(word) || word.starts_with('-'),
                "{page}: {quoted}"
            );
        }
    }
}

#[test]
fn the_binary_prints_completions_and_its_document() {
    let folder = std::env::temp_dir();
    for (shell, part) in [
        ("bash", "complete -F"),
        ("zsh", "#compdef hogsend"),
        ("fish", "complete -c hogsend"),
    ] {
        let (code, told) = run(&folder, &["completions", shell], &[]);
        assert_eq!(code, Some(0), "{told}");
        assert!(
            told.contains(part) && told.contains("after-restore"),
            "{shell}: {told}"
        );
    }
    let (code, told) = run(&folder, &["openapi"], &[]);
    assert_eq!(code, Some(0));
    let document: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(
        document,
        serde_json::to_value(hogsend::http::document()).unwrap()
    );
    let (code, told) = run(&folder, &["completions", "tcsh"], &[]);
    assert_eq!(code, Some(2), "{told}");
}
