//! `cargo xtask services`.

use std::process::ExitCode;
use std::time::Duration;

use crate::servers::{Disk, Servers, pause};

/// Runs until Ctrl-C, which ends this process; the servers' keepers then stop the servers.
pub fn services() -> anyhow::Result<ExitCode> {
    let mut servers = Servers::start(Disk::DoesNotWait)?;
    println!("export HOGSEND_TEST_DATABASE_URL={}", servers.database_url);
    println!("export HOGSEND_TEST_REDIS_URL={}", servers.redis_url);
    println!("export HOGSEND_TEST_SMTP='{}'", servers.smtp);
    eprintln!("Press Ctrl-C to stop the servers.");
    loop {
        servers.still_there()?;
        pause(Duration::from_secs(1));
    }
}
