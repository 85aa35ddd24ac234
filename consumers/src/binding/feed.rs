//! The feed of a binding: what its relay publishes, passed on to those sockets of this process that follow it.
//!
//! A feed is one member of all the groups that its followers hear, so that a row that moves from one group to another
//! is heard of in that order. It differs from a [relay](crate::relay) in that each follower has a moment from which on
//! it hears.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Weak};

use channel_layer::{ChannelLayer, ChannelName, Delivery, GroupName, LayerError, Mailbox, Missed};
use parking_lot::Mutex;
use slab::Slab;
use tokio::sync::Notify;

use super::follower::{Follower, Heard, Run, Target};
use super::publish::{Published, model_group};
use crate::capture::Seen;
use crate::relay::next;
use crate::{Result, heartbeat};

/// The most changes that one turn gathers into one write per socket.
const CHANGES_PER_TURN: usize = 128;

/// How many sockets are served between two looks at what else there is to do.
const SOCKETS_PER_TURN: usize = 64;

/// The most messages that wait while sockets are served.
const WAITING: usize = 1024;

/// What followers of one binding hear in this process.
pub(crate) struct Feed {
    model: &'static str,
    model_group: GroupName,
    layer: Arc<dyn ChannelLayer>,
    groups: Mutex<HashMap<GroupName, Slab<Arc<Follower>>>>,
    /// The feed's own channel, once it has one; locked while groups are joined and left.
    member: tokio::sync::Mutex<Option<ChannelName>>,
    /// A group has lost its last follower, or the feed itself is gone.
    changed: Arc<Notify>,
}

/// One socket's part in a feed; dropping it ends it.
#[must_use = "dropping it ends the following"]
pub struct Following {
    feed: Arc<Feed>,
    follower: Arc<Follower>,
    places: Vec<(GroupName, usize)>,
}

impl Feed {
    pub(crate) fn new(model: &'static str, layer: Arc<dyn ChannelLayer>) -> Arc<Self> {
        Arc::new(Self {
            model,
            model_group: model_group(model),
            layer,
            groups: Mutex::default(),
            member: tokio::sync::Mutex::default(),
            changed: Arc::default(),
        })
    }

    /// Makes a socket a follower of groups. What it hears is kept until [`Following::begin`] says from which moment
    /// on it counts.
    pub(crate) async fn join(
        self: &Arc<Self>,
        target: Target,
        groups: Vec<GroupName>,
    ) -> Result<Following, LayerError> {
        let mut member = self.member.lock().await;
        if member.is_none() {
            *member = Some(self.start().await?);
        }
        let follower = Arc::new(Follower::new(target));
        let mut following = Following { feed: Arc::clone(self), follower, places: Vec::new() };
        for group in groups {
            if let Some(channel) = &*member
                && !self.groups.lock().contains_key(&group)
            {
                self.layer.group_add(&group, channel).await?;
            }
            let slot =
                self.groups.lock().entry(group.clone()).or_default().insert(following.follower.clone());
            following.places.push((group, slot));
        }
        Ok(following)
    }

    /// Opens the feed's own channel, and starts the task that hears it.
    async fn start(self: &Arc<Self>) -> Result<ChannelName, LayerError> {
        let mailbox = self.layer.new_channel("binding").await?;
        self.layer.group_add(&self.model_group, mailbox.name()).await?;
        let name = mailbox.name().clone();
        let (layer, changed) = (Arc::clone(&self.layer), Arc::clone(&self.changed));
        tokio::spawn(run(Arc::downgrade(self), layer, changed, mailbox));
        Ok(name)
    }

    /// Leaves the groups that nobody follows any more.
    async fn leave_deserted(&self) {
        let member = self.member.lock().await;
        let Some(channel) = &*member else { return };
        let deserted: Vec<_> = {
            let groups = self.groups.lock();
            groups.iter().filter(|(_, slots)| slots.is_empty()).map(|(group, _)| group.clone()).collect()
        };
        for group in deserted {
            if let Err(cause) = self.layer.group_discard(&group, channel).await {
                tracing::debug!(%cause, %group, "a group could not be left; its membership will lapse");
            }
            self.groups.lock().remove(&group);
        }
    }

    fn memberships(&self) -> Vec<GroupName> {
        let groups = self.groups.lock();
        groups.keys().cloned().chain([self.model_group.clone()]).collect()
    }

    fn followers(&self, group: &GroupName) -> Vec<Arc<Follower>> {
        let groups = self.groups.lock();
        groups
            .get(group)
            .map(|slots| slots.iter().map(|(_, follower)| Arc::clone(follower)).collect())
            .unwrap_or_default()
    }

    /// Tells every follower that it has to begin anew.
    fn miss(&self) {
        let groups = self.groups.lock();
        for (_, follower) in groups.values().flatten() {
            follower.miss();
        }
    }

    /// Reads what has arrived.
    fn read(&self, delivery: Delivery) -> Option<Heard> {
        let message = match delivery {
            Delivery::Message(message) => message,
            Delivery::Missed(_) => {
                self.miss();
                return None;
            }
        };
        match message.decode::<Published>().as_deref() {
            // Another binding may speak to the same group.
            Ok(Published::Change(published)) if published.model != self.model => None,
            Ok(Published::Change(published)) => Heard::new(published),
            Ok(Published::Reset) => {
                self.miss();
                None
            }
            Err(cause) => {
                tracing::debug!(%cause, kind = message.kind(), "an event that is no change was dropped");
                None
            }
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.changed.notify_one();
    }
}

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feed").field("groups", &self.groups.lock().len()).finish_non_exhaustive()
    }
}

impl Following {
    /// Lets the follower hear what the snapshot does not hold, from what was kept on.
    pub(crate) fn begin(&self, seen: Seen) {
        self.follower.begin(seen);
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.follower.end();
        let mut groups = self.feed.groups.lock();
        for (group, slot) in self.places.drain(..) {
            let Some(slots) = groups.get_mut(&group) else { continue };
            slots.remove(slot);
            if slots.is_empty() {
                self.feed.changed.notify_one();
            }
        }
    }
}

impl std::fmt::Debug for Following {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Following").field("places", &self.places).finish_non_exhaustive()
    }
}

async fn run(feed: Weak<Feed>, layer: Arc<dyn ChannelLayer>, changed: Arc<Notify>, mut mailbox: Mailbox) {
    let mut renewal = heartbeat::renewal(&*layer);
    let mut waiting = VecDeque::new();
    loop {
        tokio::select! {
            () = changed.notified() => {
                let Some(feed) = feed.upgrade() else { return };
                feed.leave_deserted().await;
            }
            _ = renewal.tick() => {
                let Some(feed) = feed.upgrade() else { return };
                heartbeat::renew(&*layer, &feed.memberships(), mailbox.name()).await;
            }
            delivery = next(&mut waiting, &mut mailbox) => {
                let Some(feed) = feed.upgrade() else { return };
                waiting.push_front(delivery);
                tokio::task::yield_now().await;
                deliver(&feed, &mut waiting, &mut mailbox).await;
            }
        }
    }
}

/// Passes on what has arrived, the changes of one group that follow one another together.
async fn deliver(feed: &Feed, waiting: &mut VecDeque<Delivery>, mailbox: &mut Mailbox) {
    let mut heard = Vec::new();
    while heard.len() < CHANGES_PER_TURN
        && let Some(delivery) = waiting.pop_front().or_else(|| mailbox.try_recv())
    {
        heard.extend(feed.read(delivery));
    }
    for changes in heard.chunk_by(|one, other| one.group == other.group) {
        let mut run = Run::new(changes);
        for followers in feed.followers(&changes[0].group).chunks(SOCKETS_PER_TURN) {
            followers.iter().for_each(|follower| follower.hear(&mut run));
            if followers.len() == SOCKETS_PER_TURN {
                tokio::task::yield_now().await;
                // Whatever arrives meanwhile must not fill the mailbox.
                let room = WAITING.saturating_sub(waiting.len());
                waiting.extend(std::iter::from_fn(|| mailbox.try_recv()).take(room));
            }
        }
    }
}

/// What a follower is told when nobody knows how much was lost.
pub(super) const LOST: Missed = Missed::Unknown;
