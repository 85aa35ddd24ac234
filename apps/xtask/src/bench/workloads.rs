//! What the servers are put to.

use super::peers::{Offer, Peer};

/// A workload of the load generator.
#[derive(Debug)]
pub(super) struct Workload {
    pub(super) name: &'static str,
    /// What the heading of its table says.
    pub(super) title: &'static str,
    /// What a server must offer.
    pub(super) offer: Offer,
    /// The subcommand of the generator.
    command: &'static str,
    arguments: &'static [&'static str],
    /// An option that says how much there is to do, and its value; a slower server gets less.
    amount: Option<(&'static str, u64)>,
    /// Whether server and generator have a core each.
    pub(super) is_pinned: bool,
    /// It runs only when it is named.
    pub(super) takes_long: bool,
}

/// How much less is done to see that everything works.
const QUICK: u64 = 10;

const fn workload(name: &'static str, title: &'static str, offer: Offer, command: &'static str) -> Workload {
    Workload { name, title, offer, command, arguments: &[], amount: None, is_pinned: true, takes_long: false }
}

/// All of them, in the order of the tables. The kernel keeps up to 4 MiB for a client that does not read before its
/// server notices, so the messages of slow and soak are large. The rate of soak is what a core can do when every message is
/// a write of its own; at higher rates it does more, but does not recover once it is late.
pub(super) const WORKLOADS: [Workload; 15] = [
    Workload {
        amount: Some(("--msgs", 2000)),
        ..workload("fan-out", "one message of 128 bytes at a time to 1,000", Offer::FanOut, "fan-out")
    },
    Workload {
        arguments: &["--window", "16"],
        amount: Some(("--msgs", 16_000)),
        ..workload("burst", "16 messages of 128 bytes on their way to 1,000", Offer::FanOut, "fan-out")
    },
    Workload {
        arguments: &["--payload", "4096"],
        amount: Some(("--msgs", 1000)),
        ..workload("4k", "one message of 4 KiB at a time to 1,000", Offer::FanOut, "fan-out")
    },
    Workload {
        arguments: &["--payload", "65536", "--subs", "200"],
        amount: Some(("--msgs", 500)),
        ..workload("64k", "one message of 64 KiB at a time to 200", Offer::FanOut, "fan-out")
    },
    Workload {
        amount: Some(("--msgs", 2000)),
        ..workload("echo", "100 connections that each wait for their echo", Offer::Echo, "echo")
    },
    Workload {
        arguments: &["--groups", "1000", "--members", "10"],
        amount: Some(("--msgs", 100_000)),
        ..workload("groups", "1,000 groups of 10, one message at a time", Offer::Groups, "groups")
    },
    Workload {
        arguments: &["--groups", "1000", "--members", "10", "--window", "16"],
        amount: Some(("--msgs", 100_000)),
        ..workload("groups-16", "1,000 groups of 10, 16 messages on their way", Offer::Groups, "groups")
    },
    Workload {
        amount: Some(("--msgs", 500)),
        ..workload("change", "JSON that is changed for each of 1,000", Offer::Change, "fan-out")
    },
    Workload {
        amount: Some(("--msgs", 2000)),
        is_pinned: false,
        ..workload("workers", "one worker and two, cores not pinned", Offer::Workers, "fan-out")
    },
    Workload {
        amount: Some(("--msgs", 2000)),
        ..workload(
            "redis",
            "two processes of 500 with Redis between them, beside one in memory",
            Offer::Between,
            "fan-out",
        )
    },
    Workload {
        arguments: &["--subs", "5000"],
        ..workload("idle", "5,000 connections that do nothing", Offer::Idle, "idle")
    },
    Workload {
        arguments: &["--subs", "15000"],
        ..workload("idle-15k", "15,000 connections that do nothing", Offer::Idle, "idle")
    },
    Workload {
        amount: Some(("--seconds", 20)),
        ..workload(
            "churn",
            "50 messages a second to 1,000, 10% reconnect each second",
            Offer::FanOut,
            "churn",
        )
    },
    Workload {
        arguments: &["--rate", "50", "--payload", "16384", "--slow-for", "18"],
        amount: Some(("--seconds", 40)),
        ..workload("slow", "50 messages of 16 KiB a second to 1,000, 10% do not read", Offer::FanOut, "slow")
    },
    Workload {
        arguments: &["--subs", "5000", "--rate", "25", "--payload", "4096", "--slow-for", "120"],
        amount: Some(("--seconds", 600)),
        takes_long: true,
        ..workload("soak", "5,000, 10% reconnect each second, 1% do not read", Offer::FanOut, "soak")
    },
];

impl Workload {
    /// What the generator is told, apart from where the server is.
    pub(super) fn words(&self, peer: &Peer, is_quick: bool) -> Vec<String> {
        let mut words = vec![self.command.to_owned()];
        words.extend(self.arguments.iter().chain(&peer.words(self.offer)).map(|word| (*word).to_owned()));
        if let Some((option, amount)) = self.amount {
            let is_time = option == "--seconds";
            // A rate is a rate for everybody, and a slow server shall have its whole time too.
            let less = if is_time { 1 } else { peer.slower } * if is_quick { QUICK } else { 1 };
            words.extend([option.to_owned(), (amount / less).max(5).to_string()]);
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::super::peers::PEERS;
    use super::*;

    #[test]
    fn every_workload_has_a_server_to_compare_with() {
        for workload in &WORKLOADS {
            assert!(PEERS.iter().filter(|peer| peer.offers(workload.offer)).count() > 1, "{}", workload.name);
        }
    }

    #[test]
    fn slower_servers_get_less_to_do_and_the_quick_run_too() {
        let of = |peer: usize, is_quick| WORKLOADS[0].words(&PEERS[peer], is_quick).join(" ");
        assert_eq!(of(0, false), "fan-out --path / --publish %P% --msgs 2000");
        assert_eq!(of(0, true), "fan-out --path / --publish %P% --msgs 200");
        assert!(of(PEERS.len() - 1, false).ends_with("--msgs 50"), "{}", of(PEERS.len() - 1, false));
    }
}
