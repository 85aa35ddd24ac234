//! The sockets of a thread that have something to write in the same turn of its loop write it in a row.
//!
//! An event that reaches a thousand connections would else be a thousand times a handler and then a system call, each of
//! which finds what it needs pushed out of the processor's cache by the other, and a client's process that has gone to
//! sleep between two. So a socket waits until [`TOGETHER`] have something to write, until its own next handler ends, or
//! until every task has run that was woken before.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use tokio::runtime::{Handle, Id};

use super::{Outbound, Shared, State};

/// So many sockets write in a row.
const TOGETHER: usize = 16;

/// So often sockets write at once after one has waited for others in vain, for to wait costs a task.
const AT_ONCE: usize = 16;

thread_local! {
    static TURN: Turn = Turn::default();
}

/// The turn of one thread. A task that ends it may be run by another.
#[derive(Clone, Default)]
struct Turn(Arc<Mutex<Sockets>>);

#[derive(Default)]
struct Sockets {
    waiting: Vec<Outbound>,
    /// How many have waited since the turn began.
    gathered: usize,
    /// The runtime that has a task to end the turn. A thread may run first one and then another.
    ends_on: Option<Id>,
    /// So often sockets are still to write at once.
    at_once: usize,
}

/// Ends the turn when it is dropped, also with a runtime that ends before.
struct End(Turn);

impl Outbound {
    /// Writes what is queued, or lets it wait until others of this turn write too; whether nothing is left to do. If
    /// something is, or the socket is broken, [`poll_flush`](Self::poll_flush) says what to wait for.
    pub(crate) fn flush(&self) -> bool {
        let mut state = self.0.state.lock();
        // Who waits already would wait for one handler more with each event.
        let has_waited = std::mem::take(&mut state.waits_for_others);
        let can_wait = self.0.tcp.get().is_some() && !state.backlog.is_empty();
        if can_wait && !has_waited && TURN.with(Turn::lets_wait) {
            state.waits_for_others = true;
            drop(state);
            TURN.with(|turn| turn.add(self.clone()));
            return true;
        }
        let mut nobody = Context::from_waker(Waker::noop());
        matches!(state.poll_write(&mut nobody, &self.0), Poll::Ready(Ok(())))
    }

    fn stop_waiting(&self) {
        self.0.state.lock().stop_waiting(&self.0);
    }
}

impl State {
    /// Writes what still waits for others, which is its turn's end, or that more comes which does not wait.
    pub(super) fn stop_waiting(&mut self, shared: &Shared) {
        if std::mem::take(&mut self.waits_for_others) {
            self.write_for_task(shared);
        }
    }
}

impl Turn {
    /// Whether one more socket may wait. After one has waited in vain, each that asks is one less to write at once.
    fn lets_wait(&self) -> bool {
        let mut sockets = self.0.lock();
        let may_wait = sockets.at_once == 0;
        sockets.at_once = sockets.at_once.saturating_sub(1);
        may_wait
    }

    fn add(&self, socket: Outbound) {
        let Ok(runtime) = Handle::try_current() else { return socket.stop_waiting() };
        let mut sockets = self.0.lock();
        sockets.waiting.push(socket);
        sockets.gathered += 1;
        if sockets.waiting.len() == TOGETHER {
            let waiting = std::mem::replace(&mut sockets.waiting, Vec::with_capacity(TOGETHER));
            drop(sockets);
            return waiting.iter().for_each(Outbound::stop_waiting);
        }
        let ends_on = sockets.ends_on.replace(runtime.id());
        drop(sockets);
        if ends_on != Some(runtime.id()) {
            let end = End(self.clone());
            runtime.spawn(async move {
                behind_all_others().await;
                drop(end);
            });
        }
    }
}

/// Ends when every task has run that waits for it now. (`yield_now` would also wait until there is nothing else to do.)
async fn behind_all_others() {
    let mut is_behind = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut is_behind, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl Drop for End {
    fn drop(&mut self) {
        let mut sockets = self.0.0.lock();
        sockets.ends_on = None;
        if std::mem::take(&mut sockets.gathered) == 1 {
            sockets.at_once = AT_ONCE;
        }
        let waiting = std::mem::take(&mut sockets.waiting);
        drop(sockets);
        waiting.iter().for_each(Outbound::stop_waiting);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read as _};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::Wake;

    use bytes::Bytes;
    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpStream};
    use tokio::runtime::{Builder, Runtime};

    use super::*;

    /// A connection's task that only notes that it is woken.
    struct Rung(AtomicBool);

    impl Wake for Rung {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    fn runtime() -> Runtime {
        Builder::new_current_thread().enable_all().build().unwrap()
    }

    /// A queue with a connection of its own, and the client's end of it.
    async fn connection() -> (Outbound, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let outbound = Outbound::new();
        outbound.attach_tcp(listener.accept().await.unwrap().0.into_split().1);
        (outbound, client)
    }

    fn push(outbound: &Outbound, text: &'static str) {
        outbound.push(&mut Bytes::from_static(text.as_bytes())).unwrap();
        assert!(outbound.flush());
    }

    fn is_written(outbound: &Outbound) -> bool {
        outbound.0.state.lock().backlog.is_empty()
    }

    async fn heard(client: &mut TcpStream, bytes: usize) -> String {
        let mut read = vec![0; bytes];
        client.read_exact(&mut read).await.unwrap();
        String::from_utf8(read).unwrap()
    }

    #[tokio::test]
    async fn a_socket_waits_until_the_tasks_that_were_woken_before_have_run() {
        let (outbound, mut client) = connection().await;
        let waiting = outbound.clone();
        let other = tokio::spawn(async move { is_written(&waiting) });
        push(&outbound, "a");
        assert!(!other.await.unwrap());
        assert_eq!(heard(&mut client, 1).await, "a");
        assert!(is_written(&outbound));
    }

    #[tokio::test]
    async fn a_socket_waits_for_no_more_than_one_handler_of_its_own() {
        let (outbound, mut client) = connection().await;
        for _ in 0..3 {
            push(&outbound, "a");
            assert!(!is_written(&outbound));
            push(&outbound, "b");
            assert!(is_written(&outbound));
        }
        assert_eq!(heard(&mut client, 6).await, "ababab");
    }

    #[test]
    fn a_runtime_does_not_wait_for_another_of_its_thread() {
        let (stopped, running) = (runtime(), runtime());
        let (first, _first_client) = stopped.block_on(async {
            let connection = connection().await;
            push(&connection.0, "a");
            connection
        });
        assert!(!is_written(&first));
        running.block_on(async {
            let (outbound, mut client) = connection().await;
            push(&outbound, "b");
            assert_eq!(heard(&mut client, 1).await, "b");
        });
        assert!(is_written(&first));
    }

    #[tokio::test]
    async fn as_many_as_write_in_a_row_wait_for_nobody_else() {
        let mut connections = Vec::new();
        for _ in 0..TOGETHER {
            connections.push(connection().await);
        }
        let (last, others) = connections.split_last().unwrap();
        others.iter().for_each(|(outbound, _)| push(outbound, "a"));
        assert!(others.iter().all(|(outbound, _)| !is_written(outbound)));
        push(&last.0, "a");
        assert!(connections.iter().all(|(outbound, _)| is_written(outbound)));
    }

    #[tokio::test]
    async fn what_is_relayed_does_not_wait_and_keeps_its_place() {
        let (outbound, mut client) = connection().await;
        push(&outbound, "a");
        assert!(outbound.pass_on(&Bytes::from_static(b"b"), 1));
        assert!(is_written(&outbound));
        push(&outbound, "c");
        assert_eq!(heard(&mut client, 3).await, "abc");
    }

    #[tokio::test]
    async fn who_has_waited_in_vain_writes_at_once_and_tries_again_later() {
        let (outbound, mut client) = connection().await;
        push(&outbound, "a");
        assert_eq!(heard(&mut client, 1).await, "a");
        for _ in 0..AT_ONCE {
            push(&outbound, "b");
            assert!(is_written(&outbound));
        }
        push(&outbound, "c");
        assert!(!is_written(&outbound));
    }

    #[tokio::test]
    async fn who_does_not_take_what_has_waited_is_heard_of_when_it_takes_more() {
        let (outbound, client) = connection().await;
        let rung = Arc::new(Rung(false.into()));
        let task = Waker::from(Arc::clone(&rung));
        assert!(outbound.poll_flush(&mut Context::from_waker(&task)).is_ready());
        let much = vec![b'x'; 16 * 1024 * 1024];
        outbound.push(&mut Bytes::from(much.clone())).unwrap();
        assert!(outbound.flush());
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        assert!(!is_written(&outbound));
        rung.0.store(false, Ordering::Relaxed);
        let reading = tokio::spawn(async move {
            let (mut client, mut read) = (client, Vec::new());
            client.read_to_end(&mut read).await.unwrap();
            read.len()
        });
        while !is_written(&outbound) {
            tokio::task::yield_now().await;
            let has_rung = rung.0.swap(false, Ordering::Relaxed);
            let _ = has_rung.then(|| outbound.poll_flush(&mut Context::from_waker(&task)));
        }
        outbound.abandon();
        assert_eq!(reading.await.unwrap(), much.len());
    }

    #[test]
    fn a_runtime_that_ends_writes_what_waits() {
        let runtime = runtime();
        let (outbound, client) = runtime.block_on(async {
            let (outbound, client) = connection().await;
            push(&outbound, "last words");
            (outbound, client.into_std().unwrap())
        });
        assert!(!is_written(&outbound));
        drop(runtime);
        let (mut client, mut read) = (client, [0; 10]);
        client.set_nonblocking(false).unwrap();
        client.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"last words");
    }

    #[tokio::test]
    async fn a_client_that_is_gone_does_not_keep_others_from_being_written() {
        let (lost, client) = connection().await;
        client.set_zero_linger().unwrap();
        drop(client);
        let (outbound, mut client) = connection().await;
        while lost.push(&mut Bytes::from_static(b"x")).is_ok() {
            lost.flush();
            push(&outbound, "a");
            assert_eq!(heard(&mut client, 1).await, "a");
        }
        let error = lost.poll_flush(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(error, Poll::Ready(Err(error)) if error.kind() == ErrorKind::BrokenPipe));
    }
}
