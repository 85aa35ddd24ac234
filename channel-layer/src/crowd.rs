//! Crowds: so many who wait for a message of their group that they are woken behind its send, in rounds, a few at a time, so
//! that neither the sender nor anybody else has to wait for them all.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::Poll;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::group::Group;
use crate::queue::Queue;

/// A group of more mailboxes than these is a crowd: to wake so many takes half a millisecond.
const CROWD: usize = 4096;

/// How many are woken before others run, so that they do not heap up before these, who would have to wait for them all: a
/// worker of tokio keeps 256 tasks to itself, and what is more goes where everybody waits.
pub(crate) const WOKEN_PER_TURN: usize = 128;

/// How many members are looked at before others run: less than 0.2 ms of work.
const MEMBERS_PER_TURN: usize = 4096;

/// Where a group is with waking its crowd.
#[derive(Default)]
pub(crate) struct Waking {
    /// One of the three below.
    phase: AtomicU8,
    round_ended: Notify,
}

const QUIET: u8 = 0;
const IN_A_ROUND: u8 = 1;
/// Another round follows, for who was passed when the next message came.
const ANOTHER_ROUND: u8 = 2;

impl Waking {
    /// Waits until a round ends, if there is one: a loop of sends would fill the mailboxes of those who sleep.
    async fn round_ended(&self) {
        let ended = self.round_ended.notified();
        if self.phase.load(Ordering::Acquire) != QUIET {
            ended.await;
        }
    }
}

/// A send to a crowd, which is woken when this is dropped: also by a send that is cancelled, for what it has stored is there.
/// One that is neither polled nor dropped leaves asleep whom it has reached, until something else comes for them.
pub(crate) struct CrowdSend<'a> {
    group: &'a Arc<Group>,
    workers: Handle,
    /// Of those who were given something one waits for it, or may do so.
    sleeps: bool,
}

impl<'a> CrowdSend<'a> {
    /// If the group is a crowd, and there are workers to wake it; then behind a round that wakes it for an earlier send.
    pub(crate) async fn to(group: &'a Arc<Group>) -> Option<Self> {
        let workers = (group.mailboxes() > CROWD).then(workers).flatten()?;
        group.waking.round_ended().await;
        Some(Self { group, workers, sleeps: false })
    }
}

impl Drop for CrowdSend<'_> {
    fn drop(&mut self) {
        if self.sleeps && self.group.waking.phase.swap(ANOTHER_ROUND, Ordering::AcqRel) == QUIET {
            self.workers.spawn(Rounds { group: Arc::clone(self.group), are_over: false }.run());
        }
    }
}

/// Wakes the members of a group who have something to read until no send asks for another round.
struct Rounds {
    group: Arc<Group>,
    are_over: bool,
}

impl Rounds {
    async fn run(mut self) {
        let waking = &self.group.waking;
        while !self.are_over {
            waking.phase.swap(IN_A_ROUND, Ordering::AcqRel);
            self.round().await;
            let quiet = waking.phase.compare_exchange(IN_A_ROUND, QUIET, Ordering::AcqRel, Ordering::Acquire);
            self.are_over = quiet.is_ok();
            // After the phase has changed, so that nobody begins to wait for this in between.
            waking.round_ended.notify_waiters();
        }
    }

    async fn round(&self) {
        visit_in_turns(&self.group, None, |queue, _| queue.wake()).await;
        behind_all_others().await;
    }
}

impl Drop for Rounds {
    /// The runtime shuts down, and who waits may be a task of another.
    fn drop(&mut self) {
        if self.are_over {
            return;
        }
        self.group.waking.phase.store(QUIET, Ordering::Release);
        self.group.waking.round_ended.notify_waiters();
        self.group.visit_mailboxes(0..usize::MAX, |queue, _| {
            queue.wake();
        });
    }
}

/// Shows the mailboxes of a group, and lets others run between. Who looks at one tells whether somebody was woken there, or, by
/// a send to a crowd, left asleep.
pub(crate) async fn visit_in_turns(
    group: &Group,
    mut crowd: Option<CrowdSend<'_>>,
    mut look: impl FnMut(&Queue, Instant) -> bool,
) {
    let (mut slots, mut has_more, mut awaited) = (0..WOKEN_PER_TURN, true, 0);
    while has_more {
        has_more = group.visit_mailboxes(slots.clone(), |queue, added| {
            awaited += usize::from(look(queue, added));
        });
        slots = slots.end..slots.end + WOKEN_PER_TURN;
        if let Some(crowd) = &mut crowd {
            crowd.sleeps |= awaited > 0;
        } else if awaited >= WOKEN_PER_TURN && has_more {
            awaited = 0;
            behind_all_others().await;
        }
        if has_more && slots.start.is_multiple_of(MEMBERS_PER_TURN) {
            // Of so long turns a worker would take many before it looks for tasks that come from elsewhere.
            tokio::task::yield_now().await;
        }
    }
    if let Some(crowd) = crowd.filter(|crowd| crowd.sleeps) {
        drop(crowd);
        // The task that wakes them is where no other worker can take it, until this one has begun with it.
        behind_all_others().await;
    }
}

/// The runtime, if it has threads of its own to run its tasks, of which one must not be blocked: one without may be left at any
/// time, and those who wait need not be tasks of the same runtime.
fn workers() -> Option<Handle> {
    Handle::try_current().ok().filter(|handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread)
}

/// Lets every task of this worker run that is ready by now, those among them that were woken just before. Tokio's own yield looks
/// for news of the sockets first, which for a thousand members costs 5%.
async fn behind_all_others() {
    let mut has_waited = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut has_waited, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::Hub;
    use crate::{Capacities, ChannelName, Delivery, GroupName, Limits, Mailbox, Message, Missed};
    use std::collections::BTreeMap;
    use std::pin::Pin;
    use std::sync::atomic::AtomicU64;
    use std::task::{Context, Waker};
    use std::time::{Duration, Instant};
    use tokio::runtime::{Builder, Runtime};

    const MEMBERS: u64 = 2 * HALF;
    const HALF: u64 = CROWD as u64;

    /// How long any of this may take.
    const PATIENCE: Duration = Duration::from_secs(60);

    fn crowd() -> GroupName {
        GroupName::new("crowd").unwrap()
    }

    fn message() -> Message {
        Message::new(&BTreeMap::from([("type", "told")])).unwrap()
    }

    /// Messages and losses that a crowd has heard of, together.
    #[derive(Default)]
    struct Heard {
        messages: AtomicU64,
        missed: AtomicU64,
    }

    impl Heard {
        fn counts(&self) -> [u64; 2] {
            [&self.messages, &self.missed].map(|count| count.load(Ordering::Relaxed))
        }

        /// Lets others run until the crowd has heard so many messages, and missed none.
        async fn until(&self, messages: u64) {
            let end = Instant::now() + PATIENCE;
            while self.counts() != [messages, 0] {
                let counts = self.counts();
                assert!(counts[1] == 0 && Instant::now() < end, "of {messages} messages: {counts:?}");
                tokio::task::yield_now().await;
            }
        }
    }

    fn join(hub: &Arc<Hub>) -> Mailbox {
        let mailbox = hub.new_mailbox("specific").unwrap();
        hub.group_add(&crowd(), mailbox.name()).unwrap();
        mailbox
    }

    async fn listen(mut mailbox: Mailbox, heard: Arc<Heard>) {
        loop {
            match mailbox.recv().await {
                Delivery::Message(_) => heard.messages.fetch_add(1, Ordering::Relaxed),
                Delivery::Missed(Missed::Count(missed)) => heard.missed.fetch_add(missed, Ordering::Relaxed),
                Delivery::Missed(Missed::Unknown) => unreachable!("a hub counts"),
            };
        }
    }

    /// A hub in which tasks of this runtime wait at each of a crowd's mailboxes, after they have heard one message.
    async fn listening() -> (Arc<Hub>, Arc<Heard>) {
        let hub = Hub::new(Limits::default().capacity(Capacities::new(10)));
        let heard = Arc::<Heard>::default();
        for _ in 0..MEMBERS {
            tokio::spawn(listen(join(&hub), Arc::clone(&heard)));
        }
        hub.group_send(&crowd(), &message()).await.unwrap();
        heard.until(MEMBERS).await;
        let group = hub.group(&crowd());
        while group.waking.phase.load(Ordering::Acquire) != QUIET {
            behind_all_others().await;
        }
        (hub, heard)
    }

    fn workers(count: usize) -> Runtime {
        Builder::new_multi_thread().worker_threads(count).enable_time().build().unwrap()
    }

    /// What is run on a worker, and not beside it.
    fn on_worker(run: impl Future<Output = ()> + Send + 'static) {
        let runtime = workers(1);
        let task = runtime.spawn(async { tokio::time::timeout(PATIENCE, run).await });
        runtime.block_on(task).unwrap().unwrap();
    }

    #[tokio::test]
    async fn on_one_thread_a_send_does_not_run_ahead_of_those_it_wakes() {
        let (hub, heard) = listening().await;
        let sending = tokio::spawn(async move {
            hub.group_send(&crowd(), &message()).await.unwrap();
            heard.counts()[0] - MEMBERS
        });
        let heard = sending.await.unwrap();
        assert!(heard >= MEMBERS - 2 * WOKEN_PER_TURN as u64, "{heard}");
    }

    #[test]
    fn with_a_worker_a_send_returns_before_its_crowd_is_awake() {
        on_worker(async {
            let (hub, heard) = listening().await;
            hub.group_send(&crowd(), &message()).await.unwrap();
            let awake = heard.counts()[0] - MEMBERS;
            assert!(awake <= 2 * WOKEN_PER_TURN as u64, "{awake} are awake");
            heard.until(2 * MEMBERS).await;
        });
    }

    #[test]
    fn a_loop_of_sends_leaves_a_crowd_time_to_read() {
        on_worker(async {
            let (hub, heard) = listening().await;
            for _ in 1..50 {
                hub.group_send(&crowd(), &message()).await.unwrap();
            }
            heard.until(50 * MEMBERS).await;
        });
    }

    /// One more, behind all others, that waits and counts for itself.
    async fn last(hub: &Arc<Hub>) -> (ChannelName, Arc<Heard>) {
        let (mailbox, own) = (join(hub), Arc::<Heard>::default());
        let name = mailbox.name().clone();
        tokio::spawn(listen(mailbox, Arc::clone(&own)));
        behind_all_others().await;
        (name, own)
    }

    #[test]
    fn who_sleeps_in_a_crowd_is_woken_by_a_message_of_its_own() {
        on_worker(async {
            let (hub, heard) = listening().await;
            let (name, own) = last(&hub).await;
            hub.group_send(&crowd(), &message()).await.unwrap();
            assert_eq!(own.counts(), [0, 0]);
            hub.send(&name, &message()).await.unwrap();
            behind_all_others().await;
            assert_eq!(own.counts(), [2, 0]);
            assert!(heard.counts()[0] < 2 * MEMBERS, "nobody slept");
        });
    }

    /// Lets a send get on by one turn, as nobody else would; whether it has ended.
    fn step(send: &mut Pin<Box<impl Future>>) -> bool {
        send.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn a_send_that_is_cancelled_or_never_polled_again_holds_up_nobody() {
        on_worker(async {
            let (hub, heard) = listening().await;
            let (crowd, message) = (crowd(), message());
            let [mut forgotten, mut cancelled] =
                std::array::from_fn(|_| Box::pin(hub.group_send(&crowd, &message)));
            assert!(!step(&mut forgotten) && !step(&mut cancelled), "each has reached half of them");
            drop(cancelled);
            hub.group_send(&crowd, &message).await.unwrap();
            heard.until(MEMBERS + 2 * HALF + MEMBERS).await;
            drop(forgotten);
        });
    }

    #[test]
    fn whom_a_round_has_passed_by_is_woken_in_another_one() {
        on_worker(async {
            let (hub, heard) = listening().await;
            let (crowd, message) = (crowd(), message());
            let [mut first, mut second] = std::array::from_fn(|_| Box::pin(hub.group_send(&crowd, &message)));
            assert!(!step(&mut first) && !step(&mut second), "each has reached half of them");
            while !step(&mut first) {}
            while heard.counts()[0] < MEMBERS + 2 * HALF + HALF / 2 {
                behind_all_others().await;
            }
            while !step(&mut second) {}
            heard.until(3 * MEMBERS).await;
        });
    }

    #[test]
    fn who_is_put_out_of_a_crowd_hears_what_came_before() {
        on_worker(async {
            let (hub, heard) = listening().await;
            let (name, own) = last(&hub).await;
            hub.group_send(&crowd(), &message()).await.unwrap();
            hub.group_discard(&crowd(), &name);
            heard.until(2 * MEMBERS).await;
            own.until(1).await;
        });
    }

    /// On threads that do run side by side: nobody is left asleep, whoever sends, comes and goes meanwhile.
    #[test]
    fn many_senders_leave_nobody_asleep() {
        const SENDERS: u64 = 8;
        const SENDS: u64 = 10;
        let runtime = workers(4);
        let (hub, heard) = runtime.block_on(async { tokio::spawn(listening()).await.unwrap() });
        let send = async |hub: Arc<Hub>| {
            for _ in 0..SENDS {
                let guest = join(&hub);
                hub.group_send(&crowd(), &message()).await.unwrap();
                hub.group_discard(&crowd(), guest.name());
            }
        };
        for _ in 0..SENDERS {
            runtime.spawn(send(Arc::clone(&hub)));
        }
        runtime.block_on(async {
            let end = Instant::now() + PATIENCE;
            while heard.counts().iter().sum::<u64>() < MEMBERS * (1 + SENDERS * SENDS) {
                assert!(Instant::now() < end, "{:?}", heard.counts());
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
    }

    #[test]
    fn a_runtime_that_shuts_down_wakes_who_is_left() {
        let tasks = workers(1);
        let (hub, heard) = tasks.block_on(async { tokio::spawn(listening()).await.unwrap() });
        // Its only worker is busy when the crowd is to be woken, and then sees at once that all is over.
        let sender = Builder::new_multi_thread().worker_threads(1).event_interval(1).build().unwrap();
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        sender.spawn(async move { stopped.recv() });
        sender.block_on(hub.group_send(&crowd(), &message())).unwrap();
        sender.shutdown_background();
        drop(stop);
        tasks.block_on(heard.until(2 * MEMBERS));
    }
}
