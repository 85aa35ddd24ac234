//! Keeps a backend's memberships the same as the hub's: what has members here is joined there, once per process,
//! and renewed, and joined again after an outage.
//!
//! It works on levels, not on edges: a group that may have changed is looked at again, so that joins and leaves that
//! cross each other, or that a backend has refused, come out right in the end.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::hub::Hub;
use crate::{ChannelName, GroupName, LayerError};

/// How long somebody waits for a join until the backend counts as away.
const JOIN_TIMEOUT: Duration = Duration::from_secs(3);

/// How often a join or leave that failed is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// How many groups one call to the backend names at most.
const GROUPS_PER_CALL: usize = 512;

/// What a registrar does at its backend; each is one round trip, whatever the number of groups.
#[async_trait]
pub(crate) trait Memberships: Send + Sync + 'static {
    /// Joins groups, or renews memberships, on behalf of this process; those in which it was not before.
    async fn join(&self, groups: &[GroupName]) -> Result<Vec<GroupName>, LayerError>;

    /// Leaves groups.
    async fn leave(&self, groups: &[GroupName]) -> Result<(), LayerError>;

    /// How many hosts the groups are spread over; trouble with one is no trouble for the groups of another.
    fn hosts(&self) -> usize {
        1
    }

    /// The host of a group. All groups of one call are of one host.
    fn host(&self, _group: &GroupName) -> usize {
        0
    }
}

pub(crate) struct Registrar {
    hub: Arc<Hub>,
    memberships: Arc<dyn Memberships>,
    state: Mutex<State>,
    /// There is something to look at, for the task of each host.
    changed: Vec<Notify>,
    /// Something was joined, or could not be.
    settled: Notify,
}

#[derive(Default)]
struct State {
    joined: HashSet<GroupName>,
    /// Groups whose state here and there may differ.
    doubtful: HashSet<GroupName>,
    /// Groups that were joined before an outage, and are not yet joined again.
    lapsed: HashSet<GroupName>,
    /// The mailboxes are to be told that they may have missed something.
    must_tell: bool,
    /// How often everything was joined again.
    outages: u64,
    /// Counts the failures of each host, so that those who wait can tell a new one.
    failures: HashMap<usize, Failures>,
    is_closed: bool,
}

/// How often a host has failed, and how the last time.
#[derive(Debug, Clone, Default)]
struct Failures {
    count: u64,
    cause: String,
}

impl State {
    /// Whether a group is joined for sure; if not, how many failures its host has had.
    fn is_joined(&self, group: &GroupName, host: usize) -> Result<(), Failures> {
        if self.joined.contains(group) && !self.doubtful.contains(group) {
            Ok(())
        } else {
            Err(self.failures.get(&host).cloned().unwrap_or_default())
        }
    }

    fn settle(&mut self, group: &GroupName) {
        self.doubtful.remove(group);
        // Until a moment ago what was sent to it was lost, perhaps behind the last word of that.
        self.must_tell |= self.lapsed.remove(group);
    }

    /// Notes that the backend had forgotten groups: what was sent to them meanwhile is lost.
    fn note_forgotten(&mut self, added: &[GroupName]) {
        self.must_tell |= added.iter().any(|group| self.joined.contains(group));
    }
}

impl Registrar {
    /// Starts to work; memberships are renewed after each `heartbeat`. It ends with the last reference to it.
    pub(crate) fn start(hub: &Arc<Hub>, memberships: Arc<dyn Memberships>, heartbeat: Duration) -> Arc<Self> {
        let hosts = memberships.hosts();
        let registrar = Arc::new(Self {
            hub: Arc::clone(hub),
            memberships,
            state: Mutex::default(),
            changed: (0..hosts).map(|_| Notify::new()).collect(),
            settled: Notify::new(),
        });
        let told = Arc::downgrade(&registrar);
        hub.on_empty(move |group| {
            if let Some(registrar) = told.upgrade() {
                registrar.doubt([group.clone()]);
            }
        });
        for host in 0..hosts {
            tokio::spawn(work(Arc::downgrade(&registrar), host, heartbeat));
        }
        registrar
    }

    /// Makes a mailbox of this process a member, here and, with the first of a group, at the backend.
    pub(crate) async fn add(&self, group: &GroupName, channel: &ChannelName) -> Result<(), LayerError> {
        let is_new = self.hub.group_add(group, channel)?;
        if !self.hub.has_group(group) {
            // The mailbox is gone, and with it the membership.
            return Ok(());
        }
        let joined = self.joined(group).await;
        // A membership that could only not be renewed is kept: it is joined again when the backend is back.
        if joined.is_err() && is_new {
            self.hub.group_discard(group, channel);
        }
        joined
    }

    /// Waits until the process has joined a group that has members here.
    async fn joined(&self, group: &GroupName) -> Result<(), LayerError> {
        let deadline = Instant::now() + JOIN_TIMEOUT;
        let host = self.memberships.host(group);
        let Err(failures) = self.state.lock().is_joined(group, host) else { return Ok(()) };
        self.doubt([group.clone()]);
        loop {
            let settled = self.settled.notified();
            match self.state.lock().is_joined(group, host) {
                Ok(()) => return Ok(()),
                Err(now) if now.count == failures.count => {}
                Err(now) => return Err(LayerError::Unavailable(now.cause)),
            }
            if tokio::time::timeout_at(deadline, settled).await.is_err() {
                return Err(LayerError::Unavailable("joining the group took too long".to_owned()));
            }
        }
    }

    /// Looks at groups again.
    pub(crate) fn doubt(&self, groups: impl IntoIterator<Item = GroupName>) {
        self.state.lock().doubtful.extend(groups);
        self.wake();
    }

    /// Joins everything again, as after an outage in which the backend may have forgotten us, and then tells every
    /// mailbox that it may have missed something: not before, since until then it may still miss something.
    pub(crate) fn rejoin_all(&self) {
        let mut state = self.state.lock();
        // Under the lock, so that none is joined meanwhile that is in neither list.
        let groups = self.hub.group_names();
        state.joined.clear();
        state.lapsed.extend(groups.iter().cloned());
        state.doubtful.extend(groups);
        state.must_tell = true;
        state.outages += 1;
        drop(state);
        self.wake();
    }

    /// Tells every mailbox now what is to be told: something is about to come that stands behind it. What is missed of
    /// groups that are not joined yet is told again, once they are.
    pub(crate) fn tell_now(&self) {
        self.tell(&mut self.state.lock());
    }

    /// Under the lock: who finds that nothing is to be told can rely on it that it was.
    fn tell(&self, state: &mut State) {
        if std::mem::take(&mut state.must_tell) {
            self.hub.miss_unknown();
        }
    }

    fn wake(&self) {
        self.changed.iter().for_each(Notify::notify_one);
    }

    /// Leaves everything, in bulk, and ends.
    pub(crate) async fn close(&self) -> Result<(), LayerError> {
        let joined: Vec<_> = {
            let mut state = self.state.lock();
            state.is_closed = true;
            state.doubtful.clear();
            state.joined.drain().collect()
        };
        self.wake();
        let leave = |host| self.leave(host, &joined);
        join_all((0..self.changed.len()).map(leave)).await.into_iter().collect()
    }

    async fn leave(&self, host: usize, joined: &[GroupName]) -> Result<(), LayerError> {
        for groups in self.of_host(host, joined).chunks(GROUPS_PER_CALL) {
            self.memberships.leave(groups).await?;
        }
        Ok(())
    }

    fn of_host<'a>(&self, host: usize, groups: impl IntoIterator<Item = &'a GroupName>) -> Vec<GroupName> {
        groups.into_iter().filter(|group| self.memberships.host(group) == host).cloned().collect()
    }

    /// Brings what is in doubt at a host in order; the error when it refused.
    async fn settle(&self, host: usize) -> Result<(), LayerError> {
        loop {
            let Some((taken, outages)) = self.doubtful(host) else { return Ok(()) };
            let (join, leave): (Vec<_>, Vec<_>) =
                taken.into_iter().partition(|group| self.hub.has_group(group));
            let added = self.call(&join, &leave).await?;
            let mut state = self.state.lock();
            if state.outages != outages {
                // It may have been the backend of before that has answered.
                continue;
            }
            state.note_forgotten(&added);
            // A group whose members came or went meanwhile stays in doubt and is looked at again.
            join.iter().filter(|group| self.hub.has_group(group)).for_each(|group| state.settle(group));
            leave.iter().filter(|group| !self.hub.has_group(group)).for_each(|group| state.settle(group));
            state.joined.retain(|group| !leave.contains(group));
            state.joined.extend(join);
            drop(state);
            self.settled.notify_waiters();
        }
    }

    /// Some groups of a host that are in doubt, and how many outages there have been; when none is to be joined again,
    /// whoever is to be told is told.
    fn doubtful(&self, host: usize) -> Option<(Vec<GroupName>, u64)> {
        let mut state = self.state.lock();
        let here = state.doubtful.iter().filter(|group| self.memberships.host(group) == host);
        let taken: Vec<_> = here.take(GROUPS_PER_CALL).cloned().collect();
        if state.lapsed.is_empty() {
            self.tell(&mut state);
        }
        (!taken.is_empty()).then_some((taken, state.outages))
    }

    /// Joins and leaves; in which groups this process was not before.
    async fn call(&self, join: &[GroupName], leave: &[GroupName]) -> Result<Vec<GroupName>, LayerError> {
        let added = if join.is_empty() { Vec::new() } else { self.memberships.join(join).await? };
        if !leave.is_empty() {
            self.memberships.leave(leave).await?;
        }
        Ok(added)
    }

    async fn renew(&self, host: usize) {
        let joined = self.of_host(host, &self.state.lock().joined);
        for groups in joined.chunks(GROUPS_PER_CALL) {
            match self.memberships.join(groups).await {
                Ok(added) => self.state.lock().note_forgotten(&added),
                Err(cause) => {
                    tracing::warn!(%cause, "memberships could not be renewed: trying again");
                    return self.doubt(groups.iter().cloned());
                }
            }
        }
        self.wake();
    }

    fn note_failure(&self, host: usize, cause: &LayerError) {
        tracing::warn!(%cause, "groups could not be joined or left: trying again");
        let cause = match cause {
            LayerError::Unavailable(cause) => format!("the group could not be joined: {cause}"),
            other => other.to_string(),
        };
        let mut state = self.state.lock();
        let failures = state.failures.entry(host).or_default();
        *failures = Failures { count: failures.count + 1, cause };
        drop(state);
        self.settled.notify_waiters();
    }
}

/// The registrar's task for one host.
async fn work(registrar: Weak<Registrar>, host: usize, heartbeat: Duration) {
    let mut beat = interval(heartbeat);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    beat.tick().await;
    loop {
        let Some(current) = registrar.upgrade() else { return };
        if current.state.lock().is_closed {
            return;
        }
        if let Err(cause) = current.settle(host).await {
            current.note_failure(host, &cause);
            // A change that comes meanwhile is tried at once.
            let _ = timeout(RETRY, current.changed[host].notified()).await;
            continue;
        }
        tokio::select! {
            () = current.changed[host].notified() => {}
            _ = beat.tick() => current.renew(host).await,
            // Now and then it looks whether it is still needed.
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Delivery, Limits, Mailbox, Missed};
    use std::sync::atomic::{AtomicBool, Ordering};

    /// A backend that notes what it was asked, and can be away.
    #[derive(Default)]
    struct Noted {
        calls: Mutex<Vec<String>>,
        known: Mutex<HashSet<GroupName>>,
        is_away: AtomicBool,
    }

    impl Noted {
        fn note(&self, what: &str, groups: &[GroupName]) -> Result<(), LayerError> {
            if self.is_away.load(Ordering::Relaxed) {
                return Err(LayerError::Unavailable("away".into()));
            }
            let mut names: Vec<_> = groups.iter().map(GroupName::as_str).collect();
            names.sort_unstable();
            self.calls.lock().push(format!("{what} {}", names.join(",")));
            Ok(())
        }

        fn taken(&self) -> Vec<String> {
            std::mem::take(&mut self.calls.lock())
        }
    }

    #[async_trait]
    impl Memberships for Noted {
        async fn join(&self, groups: &[GroupName]) -> Result<Vec<GroupName>, LayerError> {
            self.note("join", groups)?;
            let mut known = self.known.lock();
            Ok(groups.iter().filter(|group| known.insert((*group).clone())).cloned().collect())
        }

        async fn leave(&self, groups: &[GroupName]) -> Result<(), LayerError> {
            self.known.lock().retain(|group| !groups.contains(group));
            self.note("leave", groups)
        }
    }

    fn fixture() -> (Arc<Hub>, Arc<Noted>, Arc<Registrar>) {
        let (hub, noted) = (Hub::new(Limits::default()), Arc::new(Noted::default()));
        let registrar =
            Registrar::start(&hub, Arc::clone(&noted) as Arc<dyn Memberships>, Duration::from_secs(20));
        (hub, noted, registrar)
    }

    /// A mailbox that is in the group "g", here and there.
    async fn member(hub: &Arc<Hub>, registrar: &Registrar) -> Mailbox {
        let mailbox = hub.new_mailbox("specific").unwrap();
        hub.group_add(&group("g"), mailbox.name()).unwrap();
        registrar.joined(&group("g")).await.unwrap();
        mailbox
    }

    fn group(name: &str) -> GroupName {
        GroupName::new(name).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_group_is_joined_once_for_all_members_here() {
        let (hub, noted, registrar) = fixture();
        let mailboxes: Vec<_> = (0..500).map(|_| hub.new_mailbox("specific").unwrap()).collect();
        for mailbox in &mailboxes {
            hub.group_add(&group("g"), mailbox.name()).unwrap();
            registrar.joined(&group("g")).await.unwrap();
        }
        assert_eq!(noted.taken(), ["join g"]);
        drop(mailboxes);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(noted.taken(), ["leave g"]);
    }

    #[tokio::test(start_paused = true)]
    async fn memberships_are_renewed_and_joined_again_after_an_outage() {
        let (hub, noted, registrar) = fixture();
        let _mailbox = member(&hub, &registrar).await;
        assert_eq!(noted.taken(), ["join g"]);
        tokio::time::sleep(Duration::from_secs(45)).await;
        assert_eq!(noted.taken(), ["join g", "join g"]);
        registrar.rejoin_all();
        registrar.joined(&group("g")).await.unwrap();
        assert_eq!(noted.taken(), ["join g"]);
        registrar.close().await.unwrap();
        assert_eq!(noted.taken(), ["leave g"]);
    }

    #[tokio::test(start_paused = true)]
    async fn mailboxes_are_told_that_they_missed_something_once_everything_is_joined_again() {
        let (hub, noted, registrar) = fixture();
        let mut mailbox = member(&hub, &registrar).await;
        noted.is_away.store(true, Ordering::Relaxed);
        registrar.rejoin_all();
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(mailbox.try_recv(), None);
        noted.is_away.store(false, Ordering::Relaxed);
        assert_eq!(mailbox.recv().await, Delivery::Missed(Missed::Unknown));
        assert_eq!(noted.taken(), ["join g", "join g"]);
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(mailbox.try_recv(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn mailboxes_are_told_when_a_renewal_finds_that_the_backend_has_forgotten_a_group() {
        let (hub, noted, registrar) = fixture();
        let mut mailbox = member(&hub, &registrar).await;
        hub.group_add(&group("h"), mailbox.name()).unwrap();
        registrar.joined(&group("h")).await.unwrap();
        tokio::time::sleep(Duration::from_secs(25)).await;
        assert_eq!(mailbox.try_recv(), None, "a renewal is no loss");
        noted.known.lock().remove(&group("h"));
        tokio::time::sleep(Duration::from_secs(25)).await;
        assert_eq!(mailbox.try_recv(), Some(Delivery::Missed(Missed::Unknown)));
        // The same when the renewal has to be tried again.
        noted.is_away.store(true, Ordering::Relaxed);
        noted.known.lock().clear();
        tokio::time::sleep(Duration::from_secs(25)).await;
        assert_eq!(mailbox.try_recv(), None);
        noted.is_away.store(false, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(mailbox.try_recv(), Some(Delivery::Missed(Missed::Unknown)));
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(mailbox.try_recv(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_before_all_is_joined_again_comes_behind_the_word_and_the_rest_is_told_once_more() {
        let (hub, noted, registrar) = fixture();
        let mut mailbox = member(&hub, &registrar).await;
        registrar.tell_now();
        assert_eq!(mailbox.try_recv(), None, "there is nothing to tell");
        noted.is_away.store(true, Ordering::Relaxed);
        registrar.rejoin_all();
        for _ in 0..3 {
            registrar.tell_now();
        }
        assert_eq!(mailbox.try_recv(), Some(Delivery::Missed(Missed::Unknown)));
        tokio::time::sleep(Duration::from_secs(5)).await;
        registrar.tell_now();
        assert_eq!(mailbox.try_recv(), None, "and that once");
        noted.is_away.store(false, Ordering::Relaxed);
        assert_eq!(mailbox.recv().await, Delivery::Missed(Missed::Unknown));
        registrar.tell_now();
        assert_eq!(mailbox.try_recv(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_told_that_the_backend_is_away_and_the_rest_is_made_up_for() {
        let (hub, noted, registrar) = fixture();
        let mailbox = hub.new_mailbox("specific").unwrap();
        noted.is_away.store(true, Ordering::Relaxed);
        hub.group_add(&group("g"), mailbox.name()).unwrap();
        let start = Instant::now();
        assert!(matches!(registrar.joined(&group("g")).await, Err(LayerError::Unavailable(_))));
        assert!(start.elapsed() <= JOIN_TIMEOUT);
        noted.is_away.store(false, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(noted.taken(), ["join g"]);
    }
}
