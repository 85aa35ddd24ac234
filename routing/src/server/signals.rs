//! The signals by which a process is asked to end.

use tokio::signal::unix::{SignalKind, signal};

/// Completes when the process gets SIGTERM or SIGINT (Ctrl-C).
///
/// # Panics
/// When signals cannot be listened for, which no running system refuses.
pub async fn terminated() {
    let mut term = signal(SignalKind::terminate()).expect("SIGTERM can be listened for");
    let mut interrupt = signal(SignalKind::interrupt()).expect("SIGINT can be listened for");
    tokio::select! {
        _ = term.recv() => {}
        _ = interrupt.recv() => {}
    }
}
