//! Slows down those who guess passwords, by the name they try and by where they come from.

use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use axum::http::Extensions;
use routing::PeerAddr;

use crate::throttle::Throttle;

/// Failed attempts per username in [`NAME_WINDOW`].
const NAME_ATTEMPTS: u32 = 10;
const NAME_WINDOW: Duration = Duration::from_secs(5 * 60);
/// Failed attempts per peer in [`PEER_WINDOW`], whatever the names: far more than the people of a whole office make who
/// share an address, and a tenth of what can be checked. The window is short, so that nobody is kept out for long by a
/// neighbour who guesses.
const PEER_ATTEMPTS: u32 = 100;
const PEER_WINDOW: Duration = Duration::from_secs(10);

/// What the attempts of one peer are counted under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peer([u8; 16]);

impl Peer {
    /// The peer of a request, if the server told its address and it is one of the internet. An address of this machine
    /// or of a private network is most likely that of a proxy, and then everybody has it: whoever guesses would keep
    /// all others out.
    pub(crate) fn of(request: &Extensions) -> Option<Self> {
        match without_translation(request.get::<PeerAddr>()?.0.ip()) {
            IpAddr::V4(ip) if ip.is_loopback() || ip.is_private() || ip.is_link_local() => None,
            // Shared between networks (RFC 6598): load balancers and the nodes of a cluster have such addresses.
            IpAddr::V4(ip) if matches!(ip.octets(), [100, 64..=127, ..]) => None,
            IpAddr::V4(ip) => Some(Self(ip.to_ipv6_mapped().octets())),
            IpAddr::V6(ip) if ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local() => None,
            // Who has one address of IPv6 has the 2^64 of its network.
            IpAddr::V6(ip) => Some(Self(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).octets())),
        }
    }
}

/// The address of IPv4 that one of IPv6 stands for, where it does. NAT64 puts all of IPv4 into one network (RFC 6052).
fn without_translation(ip: IpAddr) -> IpAddr {
    let ip = ip.to_canonical();
    let IpAddr::V6(v6) = ip else { return ip };
    match v6.octets() {
        [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d] => IpAddr::from([a, b, c, d]),
        _ => ip,
    }
}

/// The failed attempts that still count.
#[derive(Debug)]
pub(crate) struct Guesses {
    names: Throttle,
    peers: Throttle,
}

impl Guesses {
    pub(crate) fn new() -> Self {
        let names = Throttle::new(NAME_ATTEMPTS, NAME_WINDOW);
        Self { names, peers: Throttle::new(PEER_ATTEMPTS, PEER_WINDOW) }
    }

    /// Says how many seconds to wait where an attempt would be refused now; it counts nothing.
    pub(crate) fn check(&self, username: &str, peer: Option<Peer>, now: Instant) -> Result<(), u64> {
        if let Some(Peer(peer)) = peer {
            self.peers.check(peer, now)?;
        }
        self.names.check(username, now)
    }

    /// Counts an attempt before it is made, or says how many seconds to wait.
    pub(crate) fn attempt(&self, username: &str, peer: Option<Peer>, now: Instant) -> Result<(), u64> {
        if let Some(Peer(peer)) = peer {
            self.peers.attempt(peer, now)?;
        }
        // What a name's limit stops costs next to nothing, so it does not count against the neighbours.
        self.names.attempt(username, now).inspect_err(|_| self.take_back(peer))
    }

    /// Forgets the attempts on a name whose password was proven, and the one of the peer that proved it.
    pub(crate) fn forgive(&self, username: &str, peer: Option<Peer>) {
        self.names.forgive(username);
        self.take_back(peer);
    }

    fn take_back(&self, peer: Option<Peer>) {
        if let Some(Peer(peer)) = peer {
            self.peers.take_back(peer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(ip: &str) -> Option<Peer> {
        let mut extensions = Extensions::new();
        extensions.insert(PeerAddr((ip.parse::<IpAddr>().unwrap(), 50_000).into()));
        Peer::of(&extensions)
    }

    #[test]
    fn what_may_be_a_proxy_is_no_peer() {
        for ip in ["127.0.0.1", "10.1.2.3", "100.64.0.1", "100.127.255.254", "::1", "fd00::1", "fe80::1"] {
            assert_eq!(peer(ip), None, "{ip}");
        }
        for ip in ["::ffff:192.168.0.1", "64:ff9b::192.168.0.1"] {
            assert_eq!(peer(ip), None, "{ip}");
        }
        for ip in ["100.63.255.255", "100.128.0.0"] {
            assert!(peer(ip).is_some(), "{ip}");
        }
        assert_eq!(Peer::of(&Extensions::new()), None);
    }

    #[test]
    fn a_network_of_ipv6_is_one_peer() {
        assert!(peer("2001:db8::1").is_some());
        assert_eq!(peer("2001:db8::1"), peer("2001:db8::2:3:4:5"));
        assert_ne!(peer("2001:db8::1"), peer("2001:db8:0:1::1"));
        assert_eq!(peer("198.51.100.7"), peer("::ffff:198.51.100.7"));
        assert_eq!(peer("198.51.100.7"), peer("64:ff9b::198.51.100.7"));
        assert_ne!(peer("198.51.100.7"), peer("198.51.100.8"));
        assert_ne!(peer("64:ff9b::198.51.100.7"), peer("64:ff9b::198.51.100.8"));
    }

    #[test]
    fn many_names_of_one_peer_are_too_many() {
        let (guesses, now, here) = (Guesses::new(), Instant::now(), peer("198.51.100.7"));
        for n in 0..PEER_ATTEMPTS {
            assert_eq!(guesses.attempt(&n.to_string(), here, now), Ok(()));
        }
        assert_eq!(guesses.attempt("ana", here, now), Err(11));
        assert_eq!(guesses.attempt("ana", peer("198.51.100.8"), now), Ok(()), "others are free");
        assert_eq!(guesses.attempt("ana", None, now), Ok(()));
        assert_eq!(guesses.attempt("ana", here, now + PEER_WINDOW), Ok(()));
    }

    #[test]
    fn neither_success_nor_a_throttled_name_counts_against_a_peer() {
        let (guesses, now, here) = (Guesses::new(), Instant::now(), peer("198.51.100.7"));
        for _ in 0..2 * PEER_ATTEMPTS {
            assert_eq!(guesses.attempt("ana", here, now), Ok(()));
            guesses.forgive("ana", here);
        }
        let refused = (0..2 * PEER_ATTEMPTS).filter(|_| guesses.attempt("ben", here, now).is_err()).count();
        assert_eq!(refused, 190);
        assert_eq!(guesses.attempt("ana", here, now), Ok(()));
    }
}
