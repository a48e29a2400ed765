//! `hogsend engine switch`.

use crate::cli::{Environment, Misconfigured, require_schema, start};
use crate::config::Mode;
use crate::worker::engine::{self, SwitchFailed};

/// Moves the open runs to another engine. It changes no settings, so it says what to set.
pub async fn switch(environment: &Environment, to: &str, dry_run: bool) -> anyhow::Result<()> {
    let app = start(environment, Mode::Command).await?.app;
    let done = async {
        require_schema(&app.db).await?;
        match Box::pin(engine::switch(&app, to, dry_run)).await {
            Ok(lines) => Ok(lines),
            Err(SwitchFailed::Unset(why)) => Err(Misconfigured::of(&[why]).into()),
            Err(SwitchFailed::Settings(problem)) => Err(Misconfigured::of(&[problem]).into()),
            Err(failed) => Err(anyhow::Error::from(failed)),
        }
    };
    let done = done.await;
    app.db.close().await;
    for line in done? {
        println!("{line}");
    }
    Ok(())
}
