//! `hogsend settings`.

use super::Environment;
use crate::config::{self, TABLE};

/// Prints every setting of the host and whether it is set, but never its value.
pub fn list(environment: &Environment, markdown: bool) {
    if markdown {
        print!("{}", config::markdown());
        return;
    }
    let width = TABLE.iter().map(|variable| variable.name.len());
    let width = width.max().unwrap_or_default();
    for variable in TABLE {
        let set = environment
            .get(variable.name)
            .is_some_and(|value| !value.trim().is_empty());
        let state = match (set, variable.default) {
            (true, _) => "set".to_owned(),
            (false, "") => "not set".to_owned(),
            (false, default) => format!("not set, {default}"),
        };
        let production = match variable.production().as_str() {
            "" => String::new(),
            production => format!(". In production: {production}"),
        };
        println!(
            "{:<width$}  ({state}) {}{production}",
            variable.name,
            variable.help.replace('`', "")
        );
    }
    println!("\nPlugins have settings of their own: `hogsend plugin list` lists them.");
}
