//! The socket's side of a connection's task: reads ahead a little, writes what is queued, and watches the clock.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use channel_layer::Missed;
use parking_lot::Mutex;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::WaitForCancellationFutureOwned;

use crate::outbound::Full;
use crate::transport::{Inbound, Socket};
use crate::{Close, CloseCode, Frame, Outbound, Shutdown};

/// How many frames are read ahead of the handlers; then the client has to wait, as TCP makes it.
const READ_AHEAD: usize = 16;

/// And how many bytes, beyond which no further frame is read: the limit of one is a MiB by default.
const READ_AHEAD_BYTES: usize = 64 * 1024;

/// How long a socket may stay full before it is closed with 1013.
const STALL_LIMIT: Duration = Duration::from_secs(10);

/// How long nothing may leave one that its consumer lets be full. Its client may have said so much that it is not read any
/// further, and then no heartbeat finds out that it is gone.
const STUCK_LIMIT: Duration = Duration::from_secs(120);

/// What the socket's side has to say to the driver.
pub(crate) enum Signal {
    Frame(Frame),
    Missed(Missed),
    Closed(Close),
    Draining,
    Stalled,
}

pub(crate) struct Io {
    socket: Box<dyn Socket>,
    outbound: Outbound,
    inbox: VecDeque<Inbound>,
    /// Nothing more will come from the socket.
    ended: bool,
    /// It is a demultiplexer's stream: what waits for its handlers waits there, and so does the end.
    is_stream: bool,
    draining: Pin<Box<WaitForCancellationFutureOwned>>,
    is_draining: bool,
    shutdown: Shutdown,
    stall: Option<Box<Stall>>,
    /// The end, when it comes, will ring.
    is_told_of_the_end: bool,
    /// What the socket and the clock are given to ring, and the task that it wakes.
    bell: Arc<Bell>,
    ringer: Waker,
    task: Option<Waker>,
    /// It has rung, and [`poll_signal`](Self::poll_signal) has not looked what that has come to.
    has_news: bool,
}

/// Tells whether the connection's task was woken by its socket or the clock, and not by the channel layer alone: to ask
/// them all after each event would cost more than the event.
#[derive(Default)]
struct Bell {
    has_rung: AtomicBool,
    task: Mutex<Option<Waker>>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.has_rung.store(true, Ordering::Release);
        // Woken without the lock, for that may run anything.
        let task = self.task.lock().clone();
        task.into_iter().for_each(Waker::wake);
    }
}

/// The watch over a socket that is full.
struct Stall {
    full: Full,
    limit: Pin<Box<Sleep>>,
    is_over: bool,
}

impl Io {
    pub(crate) fn new(
        socket: Box<dyn Socket>,
        outbound: Outbound,
        shutdown: &Shutdown,
        is_stream: bool,
    ) -> Self {
        // It is to look at everything once.
        let bell = Arc::new(Bell { has_rung: true.into(), task: Mutex::default() });
        Self {
            socket,
            outbound,
            inbox: VecDeque::new(),
            ended: false,
            is_stream,
            draining: Box::pin(shutdown.draining_token().clone().cancelled_owned()),
            is_draining: false,
            shutdown: shutdown.clone(),
            stall: None,
            is_told_of_the_end: false,
            ringer: Arc::clone(&bell).into(),
            bell,
            task: None,
            has_news: false,
        }
    }

    /// Serves the socket: writes, reads ahead, watches. Whatever it finds is kept for [`poll_signal`](Self::poll_signal).
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) {
        self.serve(cx, if self.is_stream { 0 } else { READ_AHEAD });
    }

    /// Serves the socket and reads until so much waits to be handled. When nothing of it has rung, only what was queued
    /// meanwhile is written, or soon will be.
    fn serve(&mut self, cx: &mut Context<'_>, read_ahead: usize) {
        let has_rung = self.has_rung(cx);
        if !has_rung && self.outbound.flush() {
            return;
        }
        // Taken out and put back, which is cheaper than a clone.
        let ringer = std::mem::replace(&mut self.ringer, Waker::noop().clone());
        let cx = &mut Context::from_waker(&ringer);
        if has_rung {
            if !std::mem::replace(&mut self.is_told_of_the_end, true) || self.shutdown.is_draining() {
                self.poll_draining(cx);
            }
            if !self.is_stream {
                // A stream's queue moves when the socket's does, and that one is watched. Before the socket, since a
                // client that never stops talking would leave the clock no turn behind it.
                self.poll_stall(cx);
            }
            self.poll_read(cx, read_ahead);
        }
        if let Poll::Ready(Err(_)) = self.outbound.poll_flush(cx)
            && !self.ended
            && !self.is_stream
        {
            self.ended = true;
            self.inbox.push_back(Inbound::Closed(CloseCode::ABNORMAL.into()));
        }
        self.ringer = ringer;
    }

    /// Whether the bell has rung since the last call; from here on it wakes the calling task.
    fn has_rung(&mut self, cx: &Context<'_>) -> bool {
        if !self.task.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
            self.task = Some(cx.waker().clone());
            self.bell.task.lock().clone_from(&self.task);
        }
        // Looked at before it is taken, since taking stops the processor until the bell is in its cache.
        let has_rung =
            self.bell.has_rung.load(Ordering::Relaxed) && self.bell.has_rung.swap(false, Ordering::Acquire);
        self.has_news |= has_rung;
        has_rung
    }

    /// Lets the next [`poll_signal`](Self::poll_signal) ask for the renewal though nothing has rung: the clock does not
    /// know of it.
    pub(crate) fn expect_renewal(&mut self) {
        self.has_news = true;
    }

    fn poll_draining(&mut self, cx: &mut Context<'_>) {
        if !self.is_draining && self.draining.as_mut().poll(cx).is_ready() {
            self.is_draining = true;
            // From here on the same future waits for the deadline.
            self.draining = Box::pin(self.shutdown.cut_token().clone().cancelled_owned());
        }
        if self.is_draining {
            // Only to be woken; whether it has come is asked in `is_cut`.
            let _ = self.draining.as_mut().poll(cx);
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, read_ahead: usize) {
        while !self.ended && self.has_room(read_ahead) {
            match self.socket.poll_next(cx) {
                Poll::Ready(Some(inbound)) => {
                    self.ended = matches!(inbound, Inbound::Closed(_));
                    self.inbox.push_back(inbound);
                }
                Poll::Ready(None) => {
                    self.ended = true;
                    self.inbox.push_back(Inbound::Closed(CloseCode::ABNORMAL.into()));
                }
                Poll::Pending => return,
            }
        }
        if !self.ended {
            // The socket was not asked to the end, so that nobody rings when it says more.
            self.bell.has_rung.store(true, Ordering::Relaxed);
        }
    }

    /// Whether the inbox takes one thing more.
    fn has_room(&self, read_ahead: usize) -> bool {
        let bytes = |inbound: &Inbound| match inbound {
            Inbound::Frame(frame) => frame.payload().len(),
            Inbound::Closed(_) => 0,
        };
        let is_long = || self.inbox.iter().map(bytes).sum::<usize>() >= READ_AHEAD_BYTES;
        self.inbox.len() < read_ahead && !is_long()
    }

    fn poll_stall(&mut self, cx: &mut Context<'_>) {
        if self.stall.as_ref().is_some_and(|stall| stall.is_over) {
            // It was given up, and stays so even when the client reads again: nothing can be sent any more.
            return;
        }
        let Some(full) = self.outbound.full() else {
            self.stall = None;
            return;
        };
        let stall = match &mut self.stall {
            Some(stall) if stall.full == full => stall,
            stall => {
                let limit = if full.moves.is_some() {
                    Instant::now() + STUCK_LIMIT
                } else {
                    full.since + STALL_LIMIT
                };
                let limit = Box::pin(tokio::time::sleep_until(limit));
                stall.insert(Box::new(Stall { full, limit, is_over: false }))
            }
        };
        if stall.limit.as_mut().poll(cx).is_ready() {
            stall.is_over = true;
            // Who waits for room will find none.
            self.outbound.finish_now();
        }
    }

    /// The next thing to handle: an end of our own making first (a shutdown, a stall), then losses, then what the
    /// client says, its own end among it, in order. What else there is to do when the clock rings, `renew` does.
    pub(crate) fn poll_signal(
        &mut self,
        cx: &mut Context<'_>,
        renew: impl FnOnce(&mut Context<'_>),
    ) -> Poll<Signal> {
        // Only a handler that has to wait is read ahead of. Otherwise the socket says one thing at a time, so that
        // a frame's answer is written before the close behind it is read, to which the protocol replies at once.
        // A stream's socket is asked last: whatever is handled before its frame may be the stream's end, and what
        // it has not said by then is answered.
        self.serve(cx, if self.is_stream { 0 } else { 1 });
        if std::mem::take(&mut self.has_news) {
            renew(&mut Context::from_waker(&self.ringer));
            if let Some(signal) = self.news() {
                return Poll::Ready(signal);
            }
        }
        if self.is_stream {
            self.poll_read(cx, 1);
        }
        match self.inbox.pop_front() {
            Some(Inbound::Frame(frame)) => Poll::Ready(Signal::Frame(frame)),
            Some(Inbound::Closed(close)) => Poll::Ready(Signal::Closed(close)),
            None => Poll::Pending,
        }
    }

    /// What has come of a ring, other than what the client says.
    fn news(&self) -> Option<Signal> {
        if self.is_draining {
            return Some(Signal::Draining);
        }
        if self.stall.as_ref().is_some_and(|stall| stall.is_over) {
            return Some(Signal::Stalled);
        }
        self.outbound.take_missed().map(Signal::Missed)
    }

    /// Whether the deadline of a shutdown has passed.
    pub(crate) fn is_cut(&self) -> bool {
        self.shutdown.is_overdue()
    }

    pub(crate) fn close(&mut self, close: &Close) {
        self.socket.close(close);
    }

    /// Serves the socket until its closing handshake is done; the client's last frames are of no interest any more.
    pub(crate) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.inbox = VecDeque::new();
        self.poll_draining(cx);
        if self.is_draining {
            self.socket.hurry();
        }
        loop {
            let is_broken = matches!(self.outbound.poll_flush(cx), Poll::Ready(Err(_)));
            match self.socket.poll_next(cx) {
                Poll::Ready(Some(_)) => {}
                Poll::Ready(None) => {
                    // The last words of the protocol may have been queued by that very call.
                    let _ = self.outbound.poll_flush(cx);
                    return Poll::Ready(());
                }
                Poll::Pending if is_broken || self.is_cut() => return Poll::Ready(()),
                Poll::Pending => {
                    // Reading may have queued an answer.
                    let _ = self.outbound.poll_flush(cx);
                    return Poll::Pending;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use bytes::Bytes;
    use tokio::io::AsyncReadExt;

    use super::*;
    use crate::SlowReader;

    /// A socket that counts how often it is asked, and says what it was given to say.
    #[derive(Clone, Default)]
    struct Counted(Arc<Said>);

    #[derive(Default)]
    struct Said {
        asked: AtomicUsize,
        frames: Mutex<VecDeque<Frame>>,
        waker: Mutex<Option<Waker>>,
    }

    impl Counted {
        fn say(&self, texts: &[&str]) {
            self.0.frames.lock().extend(texts.iter().map(|text| Frame::text(*text)));
            self.0.waker.lock().take().into_iter().for_each(Waker::wake);
        }

        fn asked(&self) -> usize {
            self.0.asked.load(Ordering::Relaxed)
        }
    }

    impl Socket for Counted {
        fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Inbound>> {
            self.0.asked.fetch_add(1, Ordering::Relaxed);
            *self.0.waker.lock() = Some(cx.waker().clone());
            let frame = self.0.frames.lock().pop_front();
            frame.map_or(Poll::Pending, |frame| Poll::Ready(Some(Inbound::Frame(frame))))
        }

        fn close(&mut self, _: &Close) {}
    }

    fn fixture() -> (Counted, Outbound, Io) {
        let (socket, outbound) = (Counted::default(), Outbound::new());
        let io = Io::new(Box::new(socket.clone()), outbound.clone(), &Shutdown::new(), false);
        (socket, outbound, io)
    }

    fn signal(io: &mut Io) -> Option<Signal> {
        match io.poll_signal(&mut Context::from_waker(Waker::noop()), |_| {}) {
            Poll::Ready(signal) => Some(signal),
            Poll::Pending => None,
        }
    }

    #[tokio::test]
    async fn a_socket_is_asked_when_it_has_rung_and_not_after_every_event() {
        let (socket, _outbound, mut io) = fixture();
        assert!(signal(&mut io).is_none());
        let asked = socket.asked();
        (0..10).for_each(|_| assert!(signal(&mut io).is_none()));
        assert_eq!(socket.asked(), asked);
        socket.say(&["a"]);
        assert!(matches!(signal(&mut io), Some(Signal::Frame(_))));
    }

    #[tokio::test]
    async fn all_frames_of_one_ring_are_heard() {
        let (socket, _outbound, mut io) = fixture();
        assert!(signal(&mut io).is_none());
        socket.say(&["a", "b", "c"]);
        for _ in 0..3 {
            assert!(matches!(signal(&mut io), Some(Signal::Frame(_))));
        }
        assert!(signal(&mut io).is_none());
    }

    #[tokio::test]
    async fn what_is_read_ahead_of_a_handler_does_not_end_the_reading() {
        let (socket, _outbound, mut io) = fixture();
        let texts = vec!["x"; READ_AHEAD + 1];
        socket.say(&texts);
        io.poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(socket.asked(), READ_AHEAD);
        let heard = std::iter::from_fn(|| signal(&mut io)).count();
        assert_eq!(heard, texts.len());
    }

    #[tokio::test]
    async fn long_frames_are_not_read_ahead_by_the_dozen() {
        let (socket, _outbound, mut io) = fixture();
        let long = "x".repeat(READ_AHEAD_BYTES);
        let texts = ["a", &long, "b", &long];
        socket.say(&texts);
        io.poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(socket.asked(), 2);
        let heard = std::iter::from_fn(|| signal(&mut io)).count();
        assert_eq!(heard, texts.len());
    }

    /// A socket whose client never stops talking: it uses up what a task may do in one turn.
    struct Chatty;

    impl Socket for Chatty {
        fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Inbound>> {
            let turns = std::iter::from_fn(|| match tokio::task::coop::poll_proceed(cx) {
                Poll::Ready(turn) => Some(turn),
                Poll::Pending => None,
            });
            turns.for_each(|turn| turn.made_progress());
            Poll::Pending
        }

        fn close(&mut self, _: &Close) {}
    }

    async fn next(io: &mut Io) -> Signal {
        std::future::poll_fn(|cx| io.poll_signal(cx, |_| {})).await
    }

    fn fill(outbound: &Outbound) {
        while outbound.push(&mut Bytes::from_static(b"x")).is_ok() {}
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_never_stops_talking_is_found_to_be_stalled() {
        let outbound = Outbound::new();
        let mut io = Io::new(Box::new(Chatty), outbound.clone(), &Shutdown::new(), false);
        fill(&outbound);
        let signal = tokio::spawn(async move { next(&mut io).await });
        tokio::task::yield_now().await;
        tokio::time::advance(STALL_LIMIT).await;
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert!(signal.is_finished());
        assert!(matches!(signal.await.unwrap(), Signal::Stalled));
    }

    #[tokio::test(start_paused = true)]
    async fn a_socket_that_may_be_full_is_given_up_when_nothing_leaves_it() {
        let (_socket, outbound, mut io) = fixture();
        outbound.set_slow_reader(SlowReader::DropNewest);
        let (ours, mut clients) = tokio::io::duplex(1);
        outbound.attach(ours);
        fill(&outbound);
        let began = Instant::now();
        for second in 1..=100_u64 {
            assert!(signal(&mut io).is_none(), "{second}");
            tokio::time::advance(Duration::from_secs(1)).await;
            fill(&outbound);
            clients.read_exact(&mut [0]).await.unwrap();
        }
        assert!(signal(&mut io).is_none());
        fill(&outbound);
        assert!(matches!(next(&mut io).await, Signal::Stalled));
        assert!(began.elapsed() >= Duration::from_secs(100) + STUCK_LIMIT);
    }

    #[tokio::test]
    async fn a_loss_rings_too() {
        let (_socket, outbound, mut io) = fixture();
        assert!(signal(&mut io).is_none());
        outbound.miss(Missed::Count(2));
        assert!(matches!(signal(&mut io), Some(Signal::Missed(Missed::Count(2)))));
    }
}
