//! What the hub promises beyond the contract of a layer: it forgets what nobody can ask for.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use super::*;
use crate::Capacities;
use crate::crowd::WOKEN_PER_TURN;

fn message(text: &str) -> Message {
    Message::new(&BTreeMap::from([("type", text)])).unwrap()
}

fn channel(name: &str) -> ChannelName {
    ChannelName::new(name).unwrap()
}

fn group(name: &str) -> GroupName {
    GroupName::new(name).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_drained_channel_is_forgotten() {
    let hub = Hub::new(Limits::default());
    hub.send(&channel("a"), &message("1")).await.unwrap();
    hub.send(&channel("a"), &message("2")).await.unwrap();
    assert_eq!(hub.census().0, 1);
    hub.receive(&channel("a")).await.unwrap();
    assert_eq!(hub.census().0, 1);
    hub.receive(&channel("a")).await.unwrap();
    assert_eq!(hub.census().0, 0);
}

#[tokio::test(start_paused = true)]
async fn unread_channels_are_forgotten_while_others_are_used() {
    let hub = Hub::new(Limits::default().expiry(Duration::from_secs(1)));
    for n in 0..1000 {
        hub.send(&channel(&format!("unread.{n}")), &message("x")).await.unwrap();
    }
    tokio::time::advance(Duration::from_secs(2)).await;
    for _ in 0..600 {
        hub.send(&channel("used"), &message("x")).await.unwrap();
        hub.receive(&channel("used")).await.unwrap();
    }
    assert_eq!(hub.census().0, 0);
    assert_eq!(hub.losses().expired, 1000);
}

#[tokio::test(start_paused = true)]
async fn a_waiting_receiver_gets_what_comes_after_the_channel_was_drained() {
    let hub = Hub::new(Limits::default());
    let waiting = |hub: &Arc<Hub>| {
        let hub = Arc::clone(hub);
        tokio::spawn(async move { hub.receive(&channel("a")).await })
    };
    let (first, second) = (waiting(&hub), waiting(&hub));
    tokio::task::yield_now().await;
    hub.send(&channel("a"), &message("1")).await.unwrap();
    tokio::task::yield_now().await;
    hub.send(&channel("a"), &message("2")).await.unwrap();
    let mut got = [first.await.unwrap().unwrap(), second.await.unwrap().unwrap()];
    got.sort_by(|a, b| a.kind().cmp(b.kind()));
    assert_eq!(got, [message("1"), message("2")]);
    assert_eq!(hub.census().0, 0);
}

#[tokio::test]
async fn a_dropped_mailbox_leaves_nothing_behind() {
    let hub = Hub::new(Limits::default());
    let mailbox = hub.new_mailbox("specific").unwrap();
    for n in 0..100 {
        hub.group_add(&group(&format!("g{n}")), mailbox.name()).unwrap();
    }
    let name = mailbox.name().clone();
    drop(mailbox);
    assert_eq!(hub.census(), (0, 0));
    hub.group_add(&group("g"), &name).unwrap();
    hub.send(&name, &message("x")).await.unwrap();
    assert_eq!(hub.census(), (0, 0));
    assert_eq!(hub.losses().unroutable, 1);
}

/// A reader on the same thread keeps up with a loop of sends that is longer than its capacity.
#[tokio::test]
async fn a_loop_of_sends_lets_its_readers_run() {
    let hub = Hub::new(Limits::default().capacity(Capacities::new(10)));
    let mut mailbox = hub.new_mailbox("specific").unwrap();
    hub.group_add(&group("g"), mailbox.name()).unwrap();
    let name = mailbox.name().clone();
    let reader = tokio::spawn(async move {
        for _ in 0..1000 {
            assert!(matches!(mailbox.recv().await, Delivery::Message(_)));
        }
    });
    for _ in 0..500 {
        hub.group_send(&group("g"), &message("x")).await.unwrap();
        hub.send(&name, &message("x")).await.unwrap();
    }
    reader.await.unwrap();
}

#[tokio::test]
async fn flush_forgets_messages_and_groups_but_not_mailboxes() {
    let hub = Hub::new(Limits::default());
    let mut mailbox = hub.new_mailbox("specific").unwrap();
    hub.group_add(&group("g"), mailbox.name()).unwrap();
    hub.group_add(&group("g"), &channel("normal")).unwrap();
    hub.send(&channel("normal"), &message("x")).await.unwrap();
    hub.group_send(&group("g"), &message("x")).await.unwrap();
    hub.flush();
    assert_eq!(hub.census(), (1, 0));
    assert_eq!(mailbox.try_recv(), None);
    hub.group_add(&group("g"), mailbox.name()).unwrap();
    hub.group_send(&group("g"), &message("after")).await.unwrap();
    assert_eq!(mailbox.try_recv(), Some(Delivery::Message(message("after"))));
}

#[tokio::test]
async fn a_closed_hub_refuses_and_wakes_who_waits() {
    let hub = Hub::new(Limits::default());
    let waiting = tokio::spawn({
        let hub = Arc::clone(&hub);
        async move { hub.receive(&channel("a")).await }
    });
    tokio::task::yield_now().await;
    hub.close();
    assert!(matches!(waiting.await.unwrap(), Err(LayerError::Closed)));
    assert!(matches!(hub.send(&channel("a"), &message("x")).await, Err(LayerError::Closed)));
    assert!(matches!(hub.group_send(&group("g"), &message("x")).await, Err(LayerError::Closed)));
}

#[tokio::test(start_paused = true)]
async fn room_is_made_by_expiry_before_a_member_misses_anything() {
    let limits = Limits::default().capacity(Capacities::new(1)).expiry(Duration::from_secs(1));
    let hub = Hub::new(limits);
    let mut mailbox = hub.new_mailbox("specific").unwrap();
    hub.group_add(&group("g"), mailbox.name()).unwrap();
    hub.group_send(&group("g"), &message("old")).await.unwrap();
    tokio::time::advance(Duration::from_secs(2)).await;
    hub.group_send(&group("g"), &message("new")).await.unwrap();
    assert_eq!(mailbox.try_recv(), Some(Delivery::Missed(Missed::Count(1))));
    assert_eq!(mailbox.try_recv(), Some(Delivery::Message(message("new"))));
}

/// Drops a mailbox while another thread adds it to a group.
fn race_a_drop_against_an_add(hub: &Arc<Hub>, n: usize) {
    let mailbox = hub.new_mailbox("specific").unwrap();
    let name = mailbox.name().clone();
    std::thread::scope(|scope| {
        scope.spawn(|| hub.group_add(&group(&format!("g{}", n % 3)), &name).unwrap());
        drop(mailbox);
    });
}

#[test]
fn joins_and_drops_on_many_threads_leave_no_ghosts() {
    let hub = Hub::new(Limits::default());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..500).for_each(|n| race_a_drop_against_an_add(&hub, n)));
        }
    });
    assert_eq!(hub.census(), (0, 0));
}

#[tokio::test]
async fn a_send_to_many_does_not_run_ahead_of_those_it_wakes() {
    const MEMBERS: usize = 1000;
    let (hub, heard) = (Hub::new(Limits::default()), Arc::new(AtomicUsize::new(0)));
    for _ in 0..MEMBERS {
        let (mut mailbox, heard) = (hub.new_mailbox("specific").unwrap(), Arc::clone(&heard));
        hub.group_add(&group("g"), mailbox.name()).unwrap();
        tokio::spawn(async move {
            mailbox.recv().await;
            heard.fetch_add(1, Ordering::Relaxed)
        });
    }
    for _ in 0..MEMBERS {
        tokio::task::yield_now().await;
    }
    let sending = tokio::spawn(async move {
        hub.group_send(&group("g"), &message("x")).await.unwrap();
        heard.load(Ordering::Relaxed)
    });
    let heard = sending.await.unwrap();
    assert!(heard >= MEMBERS - 2 * WOKEN_PER_TURN, "{heard}");
}
