//! `cargo xtask services`.

use std::process::ExitCode;
use std::time::Duration;

use crate::servers::{Servers, pause};

/// Ctrl-C ends this process where it stands; the servers' keepers do the rest.
pub fn services() -> anyhow::Result<ExitCode> {
    let mut servers = Servers::start()?;
    println!("export HOGSEND_TEST_DATABASE_URL={}", servers.database_url);
    println!("export HOGSEND_TEST_REDIS_URL={}", servers.redis_url);
    println!("export HOGSEND_TEST_SMTP='{}'", servers.smtp);
    eprintln!("Ctrl-C stops them.");
    loop {
        servers.still_there()?;
        pause(Duration::from_secs(1));
    }
}
