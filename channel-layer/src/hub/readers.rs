//! Those who wait for a message that is in their mailbox by now, and are to be woken without shutting others out.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};

use tokio::runtime::{Handle, RuntimeFlavor};

use crate::group::Group;

/// How many are woken before others run, so that they do not heap up before these, who would have to wait for them all: a
/// worker of tokio keeps 256 tasks to itself, and what is more goes where everybody waits.
const WOKEN_PER_TURN: usize = 128;

/// Who wakes more than so many, which takes half a millisecond, leaves it to a task of its own: they are a crowd.
const WOKEN_BY_SENDER: usize = 4096;

/// Dropping them wakes those who are left: their messages are there, and nothing else would tell them.
#[derive(Default)]
pub(super) struct Readers(VecDeque<Waker>);

impl Readers {
    pub(super) fn push(&mut self, reader: Waker) {
        self.0.push_back(reader);
    }

    /// Wakes them all; a crowd of them, or who stands behind one, after this has returned.
    pub(super) async fn wake(self, group: &Arc<Group>) {
        let is_crowd = self.0.len() > WOKEN_BY_SENDER || group.waking.available_permits() == 0;
        let Some(workers) = is_crowd.then(workers).flatten() else { return self.wake_in_turns().await };
        let group = Arc::clone(group);
        workers.spawn(async move {
            let _turn = group.waking.acquire().await;
            self.wake_in_turns().await;
        });
    }

    async fn wake_in_turns(mut self) {
        loop {
            let few = self.0.len().min(WOKEN_PER_TURN);
            self.0.drain(..few).for_each(Waker::wake);
            if self.0.is_empty() {
                return;
            }
            behind_all_others().await;
        }
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.0.drain(..).for_each(Waker::wake);
    }
}

/// The runtime, if it has threads that run its tasks whatever else is done: one of a single thread may be left at any time,
/// and those who wait need not be tasks of the same runtime.
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
    use crate::{Delivery, GroupName, Limits, Mailbox, Message};
    use std::collections::BTreeMap;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Context;
    use std::time::Duration;

    /// So many that a send leaves them to a task of its own.
    const CROWD: usize = 2 * WOKEN_BY_SENDER;

    fn crowd() -> GroupName {
        GroupName::new("crowd").unwrap()
    }

    fn message() -> Message {
        Message::new(&BTreeMap::from([("type", "told")])).unwrap()
    }

    fn join(hub: &Arc<Hub>) -> Mailbox {
        let mailbox = hub.new_mailbox("specific").unwrap();
        hub.group_add(&crowd(), mailbox.name()).unwrap();
        mailbox
    }

    /// Has a task wait at each of a crowd's mailboxes; they count messages and losses together.
    async fn listen(hub: &Arc<Hub>) -> Arc<[AtomicUsize; 2]> {
        let heard = Arc::<[AtomicUsize; 2]>::default();
        let listen = async |mut mailbox: Mailbox, heard: Arc<[AtomicUsize; 2]>| loop {
            let is_lost = matches!(mailbox.recv().await, Delivery::Missed(_));
            heard[usize::from(is_lost)].fetch_add(1, Ordering::Relaxed);
        };
        for _ in 0..CROWD {
            tokio::spawn(listen(join(hub), Arc::clone(&heard)));
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        heard
    }

    fn counts(heard: &[AtomicUsize; 2]) -> [usize; 2] {
        heard.each_ref().map(|count| count.load(Ordering::Relaxed))
    }

    /// On one thread, where nobody else would wake them.
    #[tokio::test]
    async fn a_send_to_many_does_not_run_ahead_of_those_it_wakes() {
        let hub = Hub::new(Limits::default());
        let heard = listen(&hub).await;
        let sending = tokio::spawn(async move {
            hub.group_send(&crowd(), &message()).await.unwrap();
            counts(&heard)[0]
        });
        let heard = sending.await.unwrap();
        assert!(heard >= CROWD - 2 * WOKEN_PER_TURN, "{heard}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_send_that_is_cancelled_wakes_whom_it_has_given_something() {
        let hub = Hub::new(Limits::default());
        let heard = listen(&hub).await;
        let (crowd, message) = (crowd(), message());
        let mut send = Box::pin(hub.group_send(&crowd, &message));
        assert!(send.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        drop(send);
        tokio::time::sleep(Duration::from_millis(1)).await;
        let [messages, missed] = counts(&heard);
        assert!((1..CROWD).contains(&messages) && missed == 0, "{messages} heard it, {missed} missed it");
    }

    /// Lets the crowd run until it has heard so many messages, and lost none.
    async fn until(heard: &[AtomicUsize; 2], messages: usize) {
        while counts(heard) != [messages, 0] {
            assert_eq!(counts(heard)[1], 0, "messages were lost");
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn with_workers_a_send_returns_before_its_crowd_is_awake_and_a_loop_of_them_leaves_it_time_to_read() {
        const SENDS: usize = 300;
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
        let sending = runtime.spawn(async {
            let hub = Hub::new(Limits::default());
            let heard = listen(&hub).await;
            hub.group_send(&crowd(), &message()).await.unwrap();
            // On the only worker, all of them wait again once the last has heard it.
            until(&heard, CROWD).await;
            hub.group_send(&crowd(), &message()).await.unwrap();
            assert_eq!(counts(&heard), [CROWD, 0], "nobody was waited for");
            for _ in 2..SENDS {
                hub.group_send(&crowd(), &message()).await.unwrap();
            }
            until(&heard, SENDS * CROWD).await;
        });
        runtime.block_on(sending).unwrap();
    }
}
