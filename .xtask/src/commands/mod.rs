//! One task per file.

mod bench;
mod chaos;
mod examples;
mod package;
mod prepare;
mod save_library;
mod services;
mod test;

pub use bench::bench;
pub use chaos::{chaos, long};
pub use examples::examples;
pub use package::package;
pub use prepare::prepare;
pub use save_library::save_library;
pub use services::services;
pub use test::test;

use std::process::Command;

use crate::cargo;
use crate::servers::Servers;

/// Sets the environment that the tests need: the servers and the profile's build artefacts.
fn set_test_env(command: &mut Command, servers: &Servers, profile_dir: &str) -> anyhow::Result<()> {
    let built = cargo::target_dir()?.join(profile_dir);
    command
        .env("HOGSEND_TEST_DATABASE_URL", &servers.database_url)
        .env("HOGSEND_TEST_REDIS_URL", &servers.redis_url)
        .env("HOGSEND_TEST_SMTP", &servers.smtp)
        .env("HOGSEND_TEST_BIN", built.join("hogsend"))
        .env("HOGSEND_TEST_PLUGIN_DIR", built);
    Ok(())
}
