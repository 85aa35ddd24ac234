//! The signals by which a process is asked to end.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Completes when the process gets SIGTERM or SIGINT (Ctrl-C).
///
/// The signals are caught from this call on, not only from the first time that it is awaited, so that one that comes
/// while a program still starts ends it in order too.
///
/// # Panics
/// Outside of a tokio runtime, and when signals cannot be listened for, which no running system refuses.
pub fn terminated() -> impl Future<Output = ()> + Send {
    let (mut term, mut interrupt) = (caught(SignalKind::terminate()), caught(SignalKind::interrupt()));
    async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
}

fn caught(kind: SignalKind) -> Signal {
    signal(kind).expect("a running system lets signals be listened for")
}
