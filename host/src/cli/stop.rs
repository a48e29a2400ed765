//! Stopping on SIGTERM and SIGINT.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::plugins::ExitGuard;

/// After this the process exits with whatever is still running.
const PATIENCE: Duration = Duration::from_secs(10);

/// A token that SIGTERM or SIGINT cancels. If the process has not ended ten seconds later, or gets a
/// second signal, it exits with code 1.
pub fn on_signal() -> CancellationToken {
    let stop = CancellationToken::new();
    let cancelled = stop.clone();
    tokio::spawn(async move {
        signal().await;
        tracing::info!("stopping: finishing open work");
        cancelled.cancel();
        tokio::select! {
            () = signal() => tracing::warn!("second signal: stopping at once"),
            () = tokio::time::sleep(PATIENCE) => {
                tracing::error!("not finished after {PATIENCE:?}, stopping at once");
            }
        }
        ExitGuard::release();
        std::process::exit(1);
    });
    stop
}

#[cfg(unix)]
async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let wait = async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        std::io::Result::Ok(())
    };
    if let Err(error) = wait.await {
        tracing::error!(%error, "cannot listen for signals");
        std::future::pending::<()>().await;
    }
}

#[cfg(not(unix))]
async fn signal() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
