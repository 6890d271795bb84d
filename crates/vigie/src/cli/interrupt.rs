//! Ctrl-C: the first one asks to stop, so that what was begun is finished; the second one stops at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// True once somebody has asked to stop.
#[derive(Clone, Default)]
pub(super) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Listens for SIGINT and SIGTERM from now on. Where that cannot be done, they end the program at once, as ever.
    pub(super) fn listen() -> Self {
        let interrupt = Self::default();
        let asked = interrupt.clone();
        let listen = move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
                return;
            };
            runtime.block_on(async {
                if signal().await {
                    asked.0.store(true, Ordering::SeqCst);
                    signal().await;
                    std::process::exit(130);
                }
            });
        };
        // Without the thread the signals keep their usual effect.
        let _ = std::thread::Builder::new().name(String::from("interrupt")).spawn(listen);
        interrupt
    }

    /// Whether it is time to stop.
    pub(super) fn asked(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

#[cfg(unix)]
async fn signal() -> bool {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return false };
    tokio::select! {
        outcome = tokio::signal::ctrl_c() => outcome.is_ok(),
        // Cancellation-safe: a signal that is not received stays pending.
        _ = terminate.recv() => true,
    }
}

#[cfg(not(unix))]
async fn signal() -> bool {
    tokio::signal::ctrl_c().await.is_ok()
}
