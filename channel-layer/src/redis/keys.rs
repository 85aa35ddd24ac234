//! The names of what a layer keeps in Redis.

use crate::{ChannelName, GroupName};

/// Names keys and pub/sub channels under one prefix, `asgi` in Channels. Nothing separates the prefix from the
/// name, so two layers on one Redis need prefixes of which neither begins the other.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    prefix: Box<str>,
}

impl Keys {
    pub(crate) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.into() }
    }

    /// What every key begins with.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The queue of a channel. All process-specific channels with one remote part share a queue.
    pub(crate) fn queue(&self, channel: &ChannelName) -> String {
        self.remote_queue(channel.non_local())
    }

    /// The queue that a remote part has.
    pub(crate) fn remote_queue(&self, remote: &str) -> String {
        format!("{}{remote}", self.prefix)
    }

    /// The members of a group, in the layer that keeps queues.
    pub(crate) fn group(&self, group: &GroupName) -> String {
        format!("{}:group:{group}", self.prefix)
    }

    /// The pub/sub channel of a group.
    pub(crate) fn group_topic(&self, group: &GroupName) -> String {
        format!("{}__group__{group}", self.prefix)
    }

    /// The group of a pub/sub channel, when it is one's.
    pub(crate) fn group_of(&self, topic: &str) -> Option<GroupName> {
        let name = topic.strip_prefix(&*self.prefix)?.strip_prefix("__group__")?;
        GroupName::new(name).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_those_of_python() {
        let keys = Keys::new("asgi");
        let group = GroupName::new("grp").unwrap();
        let channel = |name: &str| ChannelName::new(name).unwrap();
        assert_eq!(keys.queue(&channel("test-channel-1")), "asgitest-channel-1");
        assert_eq!(
            keys.queue(&channel(
                "specific.ffdc09a33189469d9666c261287cbdec!d01fb86e8fa5490292310a40ad7c207a"
            )),
            "asgispecific.ffdc09a33189469d9666c261287cbdec!"
        );
        assert_eq!(keys.group(&group), "asgi:group:grp");
        assert_eq!(keys.group_topic(&group), "asgi__group__grp");
    }

    #[test]
    fn the_topic_of_a_group_leads_back_to_it() {
        let keys = Keys::new("asgi");
        let group = GroupName::new("grp").unwrap();
        assert_eq!(keys.group_of(&keys.group_topic(&group)), Some(group));
        for topic in ["asgi__group__", "asgi2__group__grp", "asgigrp", "asgi__group__no good"] {
            assert_eq!(keys.group_of(topic), None, "{topic}");
        }
    }
}
