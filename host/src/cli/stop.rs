//! Stopping when asked to.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// After this the process ends whatever is still under way.
const PATIENCE: Duration = Duration::from_secs(10);

/// A token that SIGTERM or SIGINT cancels. The process is ended with code 1 when it has not ended
/// by itself ten seconds later, or at a second signal.
pub fn on_signal() -> CancellationToken {
    let stop = CancellationToken::new();
    let cancelled = stop.clone();
    tokio::spawn(async move {
        signal().await;
        tracing::info!("stopping: finishing what is under way");
        cancelled.cancel();
        tokio::select! {
            () = signal() => tracing::warn!("asked again, stopping at once"),
            () = tokio::time::sleep(PATIENCE) => {
                tracing::error!("not finished after {PATIENCE:?}, stopping at once");
            }
        }
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
