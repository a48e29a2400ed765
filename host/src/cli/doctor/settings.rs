//! The settings: wrong ones, misspelt ones, and those that only production asks for.

use hogsend_plugin_api::Manifest;

use super::finding::{Finding, Outcome};
use crate::cli::Environment;
use crate::config::{Config, Mode, TABLE, unknown};

const ABOUT: &str = "settings";

/// Reads the settings as a worker does, in development as `hogsend dev` does.
pub fn read(environment: &Environment) -> (Config, Vec<Finding>) {
    let lookup = |name: &str| environment.get(name);
    let mut mode = Mode::Dev;
    if Config::read(&lookup, Mode::Dev).0.production {
        mode = Mode::Worker;
    }
    let (config, wrong) = Config::read(&lookup, mode);
    let problems = environment.problems().iter().chain(&wrong);
    let mut found: Vec<Finding> = problems
        .map(|problem| Finding::of_sentence(Outcome::Failed, ABOUT, &problem.to_string()))
        .collect();
    if found.is_empty() {
        found.push(Finding::ok(ABOUT, "every setting of the host can be read"));
    }
    let warnings = config.warnings.iter();
    found.extend(warnings.map(|text| Finding::of_sentence(Outcome::Warning, ABOUT, text)));
    found.push(for_production(environment, &config));
    (config, found)
}

/// What production asks for and is not set.
fn for_production(environment: &Environment, config: &Config) -> Finding {
    if config.production {
        let address = config.postal_address.is_empty();
        return match address {
            true => Finding::warning(
                "postal address",
                "EMAIL_POSTAL_ADDRESS is not set, and many countries require one in commercial mail",
                "set it to the address of your company",
            ),
            false => Finding::ok("postal address", "EMAIL_POSTAL_ADDRESS is set"),
        };
    }
    let required = TABLE
        .iter()
        .filter(|one| one.production().contains("required"));
    let missing: Vec<&str> = required
        .map(|one| one.name)
        .filter(|name| {
            environment
                .get(name)
                .is_none_or(|value| value.trim().is_empty())
        })
        .collect();
    let detail = match missing.is_empty() {
        true => "this is development, and what production requires is set".to_owned(),
        false => format!(
            "this is development; production also requires {}",
            missing.join(", ")
        ),
    };
    Finding::skipped("production", detail)
}

/// Variables that look like settings and are none.
pub fn misspelt(environment: &Environment, manifests: &[&Manifest]) -> Vec<Finding> {
    let lookup = |name: &str| environment.get(name);
    let notes = unknown(environment.names(), manifests, &lookup);
    let findings = notes.iter();
    findings
        .map(|note| Finding::of_sentence(Outcome::Warning, ABOUT, note))
        .collect()
}
