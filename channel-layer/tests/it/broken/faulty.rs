//! A wrapper around the in-memory layer that breaks one promise at a time. A mailbox cannot be made outside the
//! crate, so the wrapper tampers with what goes in, and with normal channels also on the way out.

use std::collections::{HashMap, HashSet};
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use channel_layer::conformance::Backend;
use channel_layer::{
    Capacities, ChannelLayer, ChannelName, GroupName, InMemoryLayer, LayerError, Limits, Losses, Mailbox,
    Message,
};
use parking_lot::Mutex;
use tokio::runtime::{Builder, Runtime};
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};

/// Writes the faults as an enum and a list of all.
macro_rules! faults {
    ($($(#[$doc:meta])+ $fault:ident,)+) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Fault {
            /// Nothing is broken.
            None,
            $($(#[$doc])+ $fault,)+
        }

        impl Fault {
            pub(crate) const ALL: &[Self] = &[$(Self::$fault),+];
        }
    };
}

faults! {
    /// `receive` takes the newest message.
    Lifo,
    /// Every second message is late.
    Overtaking,
    /// A message is sent twice.
    Duplicating,
    /// A message is received twice.
    TwoReceivers,
    /// Every third message is lost.
    Losing,
    /// Normal channels are one channel.
    Mixing,
    /// What a message holds beside its type is lost.
    Emptying,
    /// Messages over 64 KiB are refused.
    Small,
    /// `receive` looks once, and never again.
    Sleeping,
    /// A message that a cancelled `receive` had taken is lost.
    LosingOnCancel,
    /// Discarded members still get messages.
    LeakingMembers,
    /// Only one member gets a message.
    OneMember,
    /// Who was added twice gets two copies.
    TwiceAdded,
    /// Discarding ends all memberships of the channel.
    DiscardingAll,
    /// Discarding who is no member is an error.
    StrictDiscard,
    /// A send to an empty group is an error.
    StrictGroup,
    /// A group send fails when a member is full.
    FailingGroupSend,
    /// A full member is not told, and nothing counted.
    SilentDrop,
    /// A mailbox is told what it missed, but the counters stay at zero.
    Uncounted,
    /// One message too many is counted.
    Overcounted,
    /// Capacity is without end.
    Unbounded,
    /// Patterns of capacity are not looked at.
    NoPatterns,
    /// A channel that was full once stays full.
    NeverRoom,
    /// Capacity is counted on the name up to the `!`.
    SharedRoom,
    /// Messages do not expire.
    NeverExpiring,
    /// Messages expire in a fraction of their time.
    EarlyExpiring,
    /// Memberships do not end.
    EndlessMembership,
    /// Adding again does not renew.
    NoRenewal,
    /// Bad prefixes are mended.
    MendedPrefix,
    /// New names have a prefix of their own.
    OwnPrefix,
    /// A receive from a process-specific name waits.
    AnyReceives,
    /// Every layer is the same one.
    OneProcess,
    /// Dropped mailboxes have heirs.
    Inheriting,
    /// A flush does nothing.
    NoFlush,
    /// Closing does nothing.
    NoClose,
    /// Processes do not hear each other.
    Islands,
    /// Only who made a mailbox can add it to a group, or discard it.
    OwnMembersOnly,
}

/// A backend with one fault.
pub(crate) struct Broken {
    fault: Fault,
    /// What all layers are handles of, where every layer is of one process.
    one: InMemoryLayer,
}

impl Broken {
    pub(crate) fn by(fault: Fault) -> Self {
        Self { fault, one: InMemoryLayer::default() }
    }
}

#[async_trait]
impl Backend for Broken {
    async fn layers(&self, limits: Limits, processes: usize) -> Vec<Arc<dyn ChannelLayer>> {
        let fault = self.fault;
        let group_expiry = InMemoryLayer::new(limits.clone()).group_expiry();
        let fresh = || InMemoryLayer::new(fault.limits(limits.clone()));
        let (shared, state) = (fresh(), Arc::new(Mutex::default()));
        let process = |_| {
            let inner = match fault {
                Fault::OneProcess => self.one.clone(),
                Fault::Islands => fresh(),
                _ => shared.clone(),
            };
            let faulty =
                Faulty { inner, fault, group_expiry, state: Arc::clone(&state), own: Mutex::default() };
            Arc::new(faulty) as Arc<dyn ChannelLayer>
        };
        (0..processes).map(process).collect()
    }

    fn runtime(&self) -> Runtime {
        Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
    }
}

impl Fault {
    /// The limits that a layer with this fault really keeps.
    fn limits(self, promised: Limits) -> Limits {
        const NEVER: Duration = Duration::from_secs(1 << 30);
        match self {
            Self::Unbounded => promised.capacity(Capacities::new(1 << 30)),
            Self::NoPatterns => promised.capacity(Capacities::new(3)),
            Self::NeverExpiring => promised.expiry(NEVER),
            Self::EarlyExpiring => promised.expiry(Duration::from_millis(100)),
            Self::EndlessMembership => promised.group_expiry(NEVER),
            _ => promised,
        }
    }
}

/// A layer with one fault; each stands for a process.
#[derive(Debug)]
struct Faulty {
    inner: InMemoryLayer,
    fault: Fault,
    group_expiry: Duration,
    state: Arc<Mutex<State>>,
    /// The mailboxes that this process made.
    own: Mutex<HashSet<ChannelName>>,
}

/// What the faults of all processes remember.
#[derive(Debug, Default)]
struct State {
    turns: usize,
    newest: Option<ChannelName>,
    members: HashMap<GroupName, Vec<ChannelName>>,
    stacks: HashMap<ChannelName, Vec<Message>>,
    seen: HashSet<Vec<u8>>,
    full: HashSet<ChannelName>,
    uses: HashMap<String, usize>,
}

#[async_trait]
impl ChannelLayer for Faulty {
    async fn new_channel(&self, prefix: &str) -> Result<Mailbox, LayerError> {
        let mailbox = match self.fault {
            Fault::MendedPrefix => {
                let mended: String = prefix.chars().filter(char::is_ascii_alphanumeric).take(20).collect();
                self.inner.new_channel(&mended).await?
            }
            Fault::OwnPrefix => self.inner.new_channel("own").await?,
            _ => self.inner.new_channel(prefix).await?,
        };
        self.own.lock().insert(mailbox.name().clone());
        self.state.lock().newest = Some(mailbox.name().clone());
        Ok(mailbox)
    }

    async fn send(&self, channel: &ChannelName, message: Message) -> Result<(), LayerError> {
        match self.fault {
            Fault::Overtaking if self.turn().is_multiple_of(2) => {
                let (inner, channel) = (self.inner.clone(), channel.clone());
                tokio::spawn(async move {
                    sleep(Duration::from_millis(1)).await;
                    inner.send(&channel, message).await
                });
                Ok(())
            }
            Fault::Duplicating => {
                self.inner.send(channel, message.clone()).await?;
                self.inner.send(channel, message).await
            }
            Fault::Losing if self.turn().is_multiple_of(3) => Ok(()),
            Fault::Mixing => self.inner.send(&self.mixed(channel), message).await,
            Fault::Emptying => {
                let empty = Message::new(&HashMap::from([("type", message.kind())]))?;
                self.inner.send(channel, empty).await
            }
            Fault::Small if message.packed().len() > 1 << 16 => {
                Err(LayerError::MessageTooLarge { size: message.packed().len(), limit: 1 << 16 })
            }
            Fault::SilentDrop => match self.inner.send(channel, message).await {
                Err(LayerError::ChannelFull(_)) => Ok(()),
                verdict => verdict,
            },
            Fault::NeverRoom => self.send_unless_once_full(channel, message).await,
            Fault::SharedRoom if self.uses(channel) > 3 => Err(LayerError::ChannelFull(channel.clone())),
            Fault::Inheriting => self.send_or_bequeath(channel, message).await,
            _ => self.inner.send(channel, message).await,
        }
    }

    async fn receive(&self, channel: &ChannelName) -> Result<Message, LayerError> {
        match self.fault {
            Fault::Lifo => self.receive_newest(channel).await,
            Fault::TwoReceivers => {
                let message = self.inner.receive(channel).await?;
                if self.state.lock().seen.insert(message.packed().to_vec()) {
                    self.inner.send(channel, message.clone()).await?;
                }
                Ok(message)
            }
            Fault::Mixing => self.inner.receive(&self.mixed(channel)).await,
            Fault::Sleeping => match timeout(Duration::ZERO, self.inner.receive(channel)).await {
                Ok(verdict) => verdict,
                Err(_) => pending().await,
            },
            Fault::LosingOnCancel => {
                let message = self.inner.receive(channel).await;
                yield_now().await;
                message
            }
            Fault::AnyReceives if channel.is_process_specific() => pending().await,
            _ => self.inner.receive(channel).await,
        }
    }

    async fn group_add(&self, group: &GroupName, channel: &ChannelName) -> Result<(), LayerError> {
        if self.fault == Fault::OwnMembersOnly && self.is_foreign(channel) {
            return Ok(());
        }
        let again = self.enroll(group, channel);
        if again && self.fault == Fault::NoRenewal {
            return Ok(());
        }
        self.inner.group_add(group, channel).await
    }

    async fn group_discard(&self, group: &GroupName, channel: &ChannelName) -> Result<(), LayerError> {
        let groups = match self.fault {
            Fault::LeakingMembers => return Ok(()),
            Fault::OwnMembersOnly if self.is_foreign(channel) => return Ok(()),
            Fault::StrictDiscard if !self.members(group).contains(channel) => {
                return Err(LayerError::Unavailable("no such member".into()));
            }
            Fault::DiscardingAll => self.state.lock().members.keys().cloned().collect(),
            _ => vec![group.clone()],
        };
        for group in &groups {
            if let Some(members) = self.state.lock().members.get_mut(group) {
                members.retain(|member| member != channel);
            }
            self.inner.group_discard(group, channel).await?;
        }
        Ok(())
    }

    async fn group_send(&self, group: &GroupName, message: Message) -> Result<(), LayerError> {
        let mut members = self.members(group);
        match self.fault {
            Fault::OneMember => members.truncate(1),
            Fault::StrictGroup if members.is_empty() => {
                return Err(LayerError::Unavailable("no such group".into()));
            }
            Fault::LeakingMembers
            | Fault::TwiceAdded
            | Fault::SilentDrop
            | Fault::FailingGroupSend
            | Fault::Overtaking => {}
            _ => return self.inner.group_send(group, message).await,
        }
        for member in members {
            self.send(&member, message.clone()).await?;
        }
        Ok(())
    }

    async fn flush(&self) -> Result<(), LayerError> {
        if self.fault == Fault::NoFlush { Ok(()) } else { self.inner.flush().await }
    }

    async fn close(&self) -> Result<(), LayerError> {
        if self.fault == Fault::NoClose { Ok(()) } else { self.inner.close().await }
    }

    fn group_expiry(&self) -> Duration {
        self.group_expiry
    }

    fn losses(&self) -> Losses {
        let mut losses = self.inner.losses();
        match self.fault {
            Fault::SilentDrop => losses.refused = 0,
            Fault::Uncounted => losses = Losses::default(),
            Fault::Overcounted => losses.unroutable += 1,
            _ => {}
        }
        losses
    }
}

impl Faulty {
    /// Counts the sends, from 1.
    fn turn(&self) -> usize {
        let mut state = self.state.lock();
        state.turns += 1;
        state.turns
    }

    /// Counts the sends to all names that are the same up to their `!`.
    fn uses(&self, channel: &ChannelName) -> usize {
        let mut state = self.state.lock();
        let uses = state.uses.entry(channel.non_local().to_owned()).or_default();
        *uses += 1;
        *uses
    }

    /// Notes a member, and says whether it was one already.
    fn enroll(&self, group: &GroupName, channel: &ChannelName) -> bool {
        let mut state = self.state.lock();
        let members = state.members.entry(group.clone()).or_default();
        let again = members.contains(channel);
        if !again || self.fault == Fault::TwiceAdded {
            members.push(channel.clone());
        }
        again
    }

    fn members(&self, group: &GroupName) -> Vec<ChannelName> {
        self.state.lock().members.get(group).cloned().unwrap_or_default()
    }

    fn is_foreign(&self, channel: &ChannelName) -> bool {
        channel.is_process_specific() && !self.own.lock().contains(channel)
    }

    /// The channel that stands for all of its kind.
    fn mixed(&self, channel: &ChannelName) -> ChannelName {
        let newest = self.state.lock().newest.clone().filter(|_| channel.is_process_specific());
        newest.unwrap_or_else(|| ChannelName::new("mixed").unwrap())
    }

    async fn send_unless_once_full(&self, channel: &ChannelName, message: Message) -> Result<(), LayerError> {
        if self.state.lock().full.contains(channel) {
            return Err(LayerError::ChannelFull(channel.clone()));
        }
        let verdict = self.inner.send(channel, message).await;
        if verdict.is_err() {
            self.state.lock().full.insert(channel.clone());
        }
        verdict
    }

    async fn send_or_bequeath(&self, channel: &ChannelName, message: Message) -> Result<(), LayerError> {
        let before = self.inner.losses().unroutable;
        self.inner.send(channel, message.clone()).await?;
        let heir = self.state.lock().newest.clone();
        match heir {
            Some(heir) if self.inner.losses().unroutable > before => self.inner.send(&heir, message).await,
            _ => Ok(()),
        }
    }

    async fn receive_newest(&self, channel: &ChannelName) -> Result<Message, LayerError> {
        loop {
            while let Ok(message) = timeout(Duration::ZERO, self.inner.receive(channel)).await {
                self.state.lock().stacks.entry(channel.clone()).or_default().push(message?);
            }
            let newest = self.state.lock().stacks.entry(channel.clone()).or_default().pop();
            if let Some(newest) = newest {
                return Ok(newest);
            }
            let message = self.inner.receive(channel).await?;
            self.state.lock().stacks.entry(channel.clone()).or_default().push(message);
        }
    }
}
