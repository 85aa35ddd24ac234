//! What the Redis layer sends: scripts that do in one round trip what Python does in several.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use parking_lot::Mutex;
use redis::{Script, cmd, pipe};
use uuid::Uuid;

use super::RedisConfig;
use super::clock::{Clock, Score};
use super::envelope::Target;
use super::keys::Keys;
use super::receiver::LOST;
use super::shard::Shard;
use super::shards::shard;
use super::wire::{Codec, Format};
use crate::hub::Hub;
use crate::losses::count;
use crate::registrar::Memberships;
use crate::{ChannelName, GroupName, LayerError, Message};

/// How often a process renews its memberships.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(15);

/// After how many seconds without renewal a process' own membership is dropped by the next who sends: a process that
/// crashed is out of our groups within a minute. (Python keeps it until `group_expiry`.)
pub(super) const LEASE: u64 = 50;

/// What the local part of our members' names begins with: their memberships are renewed often.
const OWN: &str = "waterway.";

/// How many keys one step of a flush looks at.
const FLUSH_STEP: usize = 1000;

pub(crate) struct Core {
    hub: Arc<Hub>,
    shards: Vec<Arc<Shard>>,
    keys: Keys,
    codec: Codec,
    clock: Clock,
    scripts: Scripts,
    /// The host of the next message to a normal channel.
    turn: AtomicUsize,
    own: Mutex<OwnMembers>,
    /// The capacity of every channel, when one script can do a whole broadcast.
    broadcasts: Option<usize>,
}

struct Scripts {
    send: Script,
    members: Script,
    deliver: Script,
    broadcast: Script,
}

/// The members by which this process is in groups, one for each.
#[derive(Default)]
struct OwnMembers {
    by_group: HashMap<GroupName, ChannelName>,
    by_name: HashMap<ChannelName, GroupName>,
}

impl Core {
    pub(crate) fn new(config: RedisConfig) -> Result<Self, LayerError> {
        let shards: Vec<_> = Shard::all(&config)?.into_iter().map(Arc::new).collect();
        let is_plain = config.format == Format::Msgpack && config.keys.is_empty() && shards.len() == 1;
        let broadcasts = config.limits.capacities.uniform().filter(|_| is_plain);
        let codec = config.codec();
        Ok(Self {
            hub: Hub::new(config.limits),
            shards,
            keys: Keys::new(&config.prefix),
            codec,
            clock: Clock::default(),
            scripts: Scripts {
                send: Script::new(include_str!("scripts/send.lua")),
                members: Script::new(include_str!("scripts/members.lua")),
                deliver: Script::new(include_str!("scripts/deliver.lua")),
                broadcast: Script::new(include_str!("scripts/broadcast.lua")),
            },
            turn: AtomicUsize::new(0),
            own: Mutex::default(),
            broadcasts,
        })
    }

    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    pub(crate) fn shards(&self) -> &[Arc<Shard>] {
        &self.shards
    }

    pub(crate) fn codec(&self) -> &Codec {
        &self.codec
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.keys
    }

    /// How often memberships are renewed: well within the time in which others let them lapse.
    pub(crate) fn heartbeat(&self) -> Duration {
        HEARTBEAT.min(self.hub.limits().group_expiry / 3)
    }

    /// What stands before the local part in the names of our members: where group messages come to.
    pub(crate) fn own_remote(&self) -> String {
        format!("specific.{}!", self.hub.process())
    }

    /// The group of which this is our member.
    pub(crate) fn group_of(&self, member: &ChannelName) -> Option<GroupName> {
        self.own.lock().by_name.get(member).cloned()
    }

    /// How many messages senders leave in the queue of a remote part: those to groups go by what our members' names allow.
    pub(crate) fn capacity_of(&self, remote: &str) -> usize {
        let member = ChannelName::new(format!("{remote}{OWN}"));
        member.map_or(usize::MAX, |name| self.hub.limits().capacities.of(&name))
    }

    /// How many seconds messages last, for senders and for who receives.
    pub(crate) fn expiry(&self) -> u64 {
        self.hub.limits().expiry.as_secs().max(1)
    }

    /// The score up to which messages are too old, as Python computes it.
    fn oldest_message(&self, now: Score) -> u64 {
        now.whole_seconds().saturating_sub(self.expiry())
    }

    /// Whether a message that was stamped so is too old to be delivered.
    pub(crate) fn is_expired(&self, score: f64) -> bool {
        self.clock.tick().seconds() - score > self.expiry() as f64
    }

    /// The shard that hears a channel: by the remote part for process-specific ones (Python hashes the full name,
    /// where its own reader never looks), in turn for normal ones.
    fn shard_of(&self, channel: &ChannelName) -> &Shard {
        let index = if channel.is_process_specific() {
            shard(channel.non_local(), self.shards.len())
        } else {
            self.turn.fetch_add(1, Ordering::Relaxed) % self.shards.len()
        };
        &self.shards[index]
    }

    fn shard_of_group(&self, group: &GroupName) -> &Shard {
        &self.shards[shard(group.as_str(), self.shards.len())]
    }

    /// Sends to a channel of another process, or to a normal one.
    pub(crate) async fn send(&self, channel: &ChannelName, message: &Message) -> Result<(), LayerError> {
        let now = self.clock.tick();
        let body = self.codec.encode(message, Target::direct(channel))?;
        let mut script = self.scripts.send.key(self.keys.queue(channel));
        script.arg(self.oldest_message(now)).arg(self.hub.limits().capacities.of(channel));
        script.arg(now.to_string()).arg(&body[..]).arg(self.expiry());
        if self.shard_of(channel).run::<bool>(&script).await? {
            return Ok(());
        }
        count(&self.hub.counters().refused, 1);
        Err(LayerError::ChannelFull(channel.clone()))
    }

    /// Puts a message back that nobody here wants any more, where it was.
    pub(crate) async fn give_back(&self, shard: &Shard, channel: &ChannelName, body: &[u8], score: f64) {
        let mut put = cmd("ZADD");
        put.arg(self.keys.queue(channel)).arg(score).arg(body);
        if let Err(cause) = shard.command::<()>(&put).await {
            tracing::error!(%cause, %channel, "a message that a cancelled receiver left could not be put back");
        }
    }

    /// Makes another process' channel, or a normal one, a member.
    pub(crate) async fn add_member(
        &self,
        group: &GroupName,
        channel: &ChannelName,
    ) -> Result<(), LayerError> {
        let key = self.keys.group(group);
        let mut add = pipe();
        add.zadd(&key, channel.as_str(), self.clock.tick().to_string()).ignore();
        add.expire(&key, self.group_expiry()).ignore();
        self.shard_of_group(group).pipe(&add).await
    }

    pub(crate) async fn remove_member(
        &self,
        group: &GroupName,
        channel: &ChannelName,
    ) -> Result<(), LayerError> {
        let mut remove = cmd("ZREM");
        remove.arg(self.keys.group(group)).arg(channel.as_str());
        self.shard_of_group(group).command(&remove).await
    }

    fn group_expiry(&self) -> i64 {
        i64::try_from(self.hub.limits().group_expiry.as_secs().max(1)).unwrap_or(i64::MAX)
    }

    pub(crate) async fn group_send(&self, group: &GroupName, message: &Message) -> Result<(), LayerError> {
        let full = match self.broadcasts {
            Some(capacity) => self.broadcast(group, message, capacity).await?,
            None => self.deliver_to_members(group, message).await?,
        };
        if full > 0 {
            count(&self.hub.counters().overflowed, full);
            tracing::info!(%group, "{full} channels over capacity in group {group}");
        }
        Ok(())
    }

    /// Reads the members and delivers in one script; how many queues were full.
    async fn broadcast(
        &self,
        group: &GroupName,
        message: &Message,
        capacity: usize,
    ) -> Result<u64, LayerError> {
        let now = self.clock.tick();
        let sealed = self.codec.encode(message, Target::Members(&[]))?;
        // The empty list of receivers is the last byte; the script puts the real one in its place.
        let body = &sealed[..sealed.len() - 1];
        let mut script = self.scripts.broadcast.key(self.keys.group(group));
        self.membership_args(&mut script, now);
        script.arg(self.keys.prefix()).arg(self.oldest_message(now)).arg(capacity);
        script.arg(now.to_string()).arg(self.expiry()).arg(body).arg(LOST);
        self.shard_of_group(group).run(&script).await
    }

    /// The scores up to which memberships have lapsed.
    fn membership_args(&self, script: &mut redis::ScriptInvocation<'_>, now: Score) {
        script.arg(now.whole_seconds().saturating_sub(self.hub.limits().group_expiry.as_secs()));
        script.arg(now.whole_seconds().saturating_sub(LEASE));
    }

    /// Reads the members first and then delivers on each host: for several hosts, encryption, JSON, and capacities
    /// by pattern, which a script cannot do.
    async fn deliver_to_members(&self, group: &GroupName, message: &Message) -> Result<u64, LayerError> {
        let now = self.clock.tick();
        let mut script = self.scripts.members.key(self.keys.group(group));
        self.membership_args(&mut script, now);
        let members: Vec<String> = self.shard_of_group(group).run(&script).await?;
        let mut queues: Vec<(String, Vec<ChannelName>)> = Vec::new();
        let mut places = HashMap::new();
        // A member that breaks the grammar is nobody's who could be reached from here.
        for member in members.iter().filter_map(|name| ChannelName::new(name).ok()) {
            let place = *places.entry(member.non_local().to_owned()).or_insert_with(|| {
                queues.push((self.keys.queue(&member), Vec::new()));
                queues.len() - 1
            });
            queues[place].1.push(member);
        }
        let (hosts, queues) = (self.shards.len(), &queues);
        // A host that is away keeps nobody's message from the others.
        let deliveries = self.shards.iter().enumerate().map(|(index, host)| {
            let here = queues.iter().filter(move |(_, names)| shard(names[0].non_local(), hosts) == index);
            self.deliver(host, message, now, here)
        });
        join_all(deliveries).await.into_iter().sum()
    }

    async fn deliver<'a>(
        &self,
        host: &Shard,
        message: &Message,
        now: Score,
        queues: impl Iterator<Item = &'a (String, Vec<ChannelName>)>,
    ) -> Result<u64, LayerError> {
        let mut script = self.scripts.deliver.prepare_invoke();
        script.arg(self.oldest_message(now)).arg(now.to_string()).arg(self.expiry());
        let mut any = false;
        for (key, names) in queues {
            let body = self.codec.encode(message, Target::Members(names))?;
            let is_ours = names.iter().any(is_own);
            script.key(key).arg(self.hub.limits().capacities.of(&names[0])).arg(&body[..]);
            script.arg(if is_ours { LOST } else { "" });
            any = true;
        }
        let full: Vec<u64> = if any { host.run(&script).await? } else { Vec::new() };
        Ok(full.len() as u64)
    }

    /// Deletes every key under the prefix, on every host, without blocking it for long.
    pub(crate) async fn flush(&self) -> Result<(), LayerError> {
        let pattern: String =
            self.keys.prefix().chars().flat_map(|c| escaped(c).into_iter().flatten()).chain(['*']).collect();
        for host in &self.shards {
            let mut cursor = Some(0);
            while let Some(from) = cursor {
                cursor = flush_step(host, from, &pattern).await?;
            }
        }
        Ok(())
    }

    /// Our member of a group, which is made when the group is first joined. Its name says that it is renewed often.
    fn own_member(&self, group: &GroupName) -> ChannelName {
        let mut own = self.own.lock();
        if let Some(name) = own.by_group.get(group) {
            return name.clone();
        }
        let name = format!("{}{OWN}{}", self.own_remote(), Uuid::new_v4().simple());
        let name = ChannelName::new(name).expect("hexadecimal digits are within the grammar");
        own.by_group.insert(group.clone(), name.clone());
        own.by_name.insert(name.clone(), group.clone());
        name
    }

    /// The name by which this process is a member of a group.
    fn member(&self, group: &GroupName) -> Option<ChannelName> {
        self.own.lock().by_group.get(group).cloned()
    }

    /// What still arrives under the name is unroutable from now on, as nobody is there to hear it.
    fn forget_member(&self, group: &GroupName) {
        let mut own = self.own.lock();
        if let Some(name) = own.by_group.remove(group) {
            own.by_name.remove(&name);
        }
    }
}

#[async_trait]
impl Memberships for Core {
    async fn join(&self, groups: &[GroupName]) -> Result<Vec<GroupName>, LayerError> {
        let Some(first) = groups.first() else { return Ok(Vec::new()) };
        let mut add = pipe();
        for group in groups {
            let key = self.keys.group(group);
            add.zadd(&key, self.own_member(group).as_str(), self.clock.tick().to_string());
            add.expire(&key, self.group_expiry()).ignore();
        }
        let added: Vec<u64> = self.shard_of_group(first).pipe(&add).await?;
        Ok(groups.iter().zip(added).filter(|(_, added)| *added > 0).map(|(group, _)| group.clone()).collect())
    }

    async fn leave(&self, groups: &[GroupName]) -> Result<(), LayerError> {
        let Some(first) = groups.first() else { return Ok(()) };
        let mut remove = pipe();
        for group in groups {
            if let Some(name) = self.member(group) {
                remove.zrem(self.keys.group(group), name.as_str()).ignore();
            }
        }
        if !remove.is_empty() {
            self.shard_of_group(first).pipe::<()>(&remove).await?;
        }
        // Only now, so that whoever leaves beside us, as at the end, does not take it for done.
        groups.iter().for_each(|group| self.forget_member(group));
        Ok(())
    }

    fn hosts(&self) -> usize {
        self.shards.len()
    }

    fn host(&self, group: &GroupName) -> usize {
        shard(group.as_str(), self.shards.len())
    }
}

/// Whether it is the member of a process of ours, this one or another.
fn is_own(member: &ChannelName) -> bool {
    member.as_str().strip_prefix(member.non_local()).is_some_and(|local| local.starts_with(OWN))
}

/// Deletes some of the keys that match; where to go on, or nothing at the end.
async fn flush_step(host: &Shard, from: u64, pattern: &str) -> Result<Option<u64>, LayerError> {
    let mut scan = cmd("SCAN");
    scan.arg(from).arg("MATCH").arg(pattern).arg("COUNT").arg(FLUSH_STEP);
    let (next, keys): (u64, Vec<Vec<u8>>) = host.command(&scan).await?;
    if !keys.is_empty() {
        host.command::<()>(cmd("DEL").arg(keys)).await?;
    }
    Ok((next > 0).then_some(next))
}

/// A character of a prefix as SCAN's patterns take it literally.
fn escaped(c: char) -> [Option<char>; 2] {
    if matches!(c, '*' | '?' | '[' | ']' | '\\' | '^') { [Some('\\'), Some(c)] } else { [Some(c), None] }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core")
            .field("hosts", &self.shards.len())
            .field("prefix", &self.keys.prefix())
            .field("limits", self.hub.limits())
            .finish_non_exhaustive()
    }
}
