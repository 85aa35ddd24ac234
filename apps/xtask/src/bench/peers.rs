//! The servers that are measured, and how each is spoken to.

/// A server.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) name: &'static str,
    pub(super) source: Source,
    /// What it can do.
    offers: &'static [Offer],
    dialect: Dialect,
    /// The kind of layer between two processes of it, if it runs as two.
    pub(super) layer: Option<&'static str>,
    /// It is sent so many times fewer messages than others, because it takes so much longer over each.
    pub(super) slower: u64,
}

/// Where a server comes from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Source {
    /// A program of the benches, with these arguments.
    Ours(&'static str, &'static [&'static str]),
    /// A script in this folder of the peers, which Bun from npm runs.
    Bun(&'static str),
    /// A script in this folder of the peers, with packages from npm.
    Node(&'static str),
    /// A script in this folder of the peers, with packages from PyPI.
    Python(&'static str),
    /// A cargo package in this folder of the peers.
    Cargo(&'static str),
    /// nginx with a module, both from Debian.
    Nginx(&'static str),
}

impl Source {
    /// Its folder, below `benches/peers`.
    pub(super) fn folder(self) -> Option<&'static str> {
        match self {
            Self::Ours(..) => None,
            Self::Bun(folder)
            | Self::Node(folder)
            | Self::Python(folder)
            | Self::Cargo(folder)
            | Self::Nginx(folder) => Some(folder),
        }
    }
}

/// Something that a server can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offer {
    FanOut,
    Echo,
    Groups,
    /// Changes each message for each receiver.
    Change,
    /// Agrees to handshakes and keeps the sockets.
    Idle,
    /// Runs with a number of workers that it was told.
    Workers,
    /// Runs as two processes with Redis between them.
    Between,
}

#[derive(Debug, Clone, Copy)]
enum Dialect {
    /// A frame is a message.
    Plain,
    /// A frame is a packet of Socket.IO.
    SocketIo,
}

const YARDSTICK: &[Offer] = &[Offer::FanOut, Offer::Groups, Offer::Change, Offer::Workers];
const OURS: &[Offer] =
    &[Offer::FanOut, Offer::Echo, Offer::Groups, Offer::Change, Offer::Idle, Offer::Workers, Offer::Between];
const USUAL: &[Offer] = &[Offer::FanOut, Offer::Echo, Offer::Groups, Offer::Idle];

/// All of them; the first that offers what a workload needs is what the others are compared with.
pub(super) const PEERS: [Peer; 14] = [
    Peer::plain("raw", Source::Ours("raw", &[]), YARDSTICK),
    Peer::plain("bare-echo", Source::Ours("bare", &["--what", "echo"]), &[Offer::Echo]),
    Peer::plain("bare-upgrade", Source::Ours("bare", &["--what", "upgrade"]), &[Offer::Idle]),
    Peer::plain("waterway", Source::Ours("site", &[]), OURS),
    Peer::plain("waterway-2", Source::Ours("site", &["--workers", "2"]), &[Offer::Workers]),
    Peer::between("waterway-pubsub", "redis+pubsub"),
    Peer::between("waterway-core", "redis"),
    Peer::plain("bun", Source::Bun("bun"), USUAL),
    Peer::plain("axum-broadcast", Source::Cargo("axum-broadcast"), USUAL),
    Peer {
        offers: &[Offer::FanOut, Offer::Echo, Offer::Idle],
        ..Peer::socket_io("socketioxide", Source::Cargo("socketioxide-emit"))
    },
    Peer::plain("nchan", Source::Nginx("nchan"), &[Offer::FanOut, Offer::Groups, Offer::Idle]),
    Peer { slower: 2, ..Peer::plain("ws", Source::Node("ws"), USUAL) },
    Peer { slower: 2, ..Peer::socket_io("socketio", Source::Node("socketio")) },
    Peer { slower: 40, ..Peer::plain("channels", Source::Python("channels"), USUAL) },
];

impl Peer {
    const fn plain(name: &'static str, source: Source, offers: &'static [Offer]) -> Self {
        Self { name, source, offers, dialect: Dialect::Plain, layer: None, slower: 1 }
    }

    const fn between(name: &'static str, layer: &'static str) -> Self {
        Self { layer: Some(layer), ..Self::plain(name, Source::Ours("site", &[]), &[Offer::Between]) }
    }

    const fn socket_io(name: &'static str, source: Source) -> Self {
        Self { dialect: Dialect::SocketIo, ..Self::plain(name, source, USUAL) }
    }

    pub(super) fn offers(&self, offer: Offer) -> bool {
        self.offers.contains(&offer)
    }

    /// What the load generator is told about paths and frames. Idle connections are not told what to publish.
    pub(super) fn words(&self, offer: Offer) -> Vec<&'static str> {
        let (path, publish) = match self.dialect {
            Dialect::Plain => plain(offer),
            Dialect::SocketIo => socket_io(offer),
        };
        let mut words = vec!["--path", path];
        if offer != Offer::Idle {
            words.extend(["--publish", publish]);
        }
        if matches!(self.dialect, Dialect::SocketIo) {
            words.extend(["--sub", "40", "--pong", "2=3"]);
        }
        words
    }
}

fn plain(offer: Offer) -> (&'static str, &'static str) {
    match offer {
        Offer::FanOut | Offer::Idle | Offer::Workers | Offer::Between => ("/", "%P%"),
        Offer::Echo => ("/echo", "%P%"),
        Offer::Groups => ("/group/{n}", "%P%"),
        Offer::Change => ("/change", r#"{"text":"%P%"}"#),
    }
}

fn socket_io(offer: Offer) -> (&'static str, &'static str) {
    let path = "/socket.io/?EIO=4&transport=websocket";
    match offer {
        Offer::Echo => (path, r#"42["echo","%P%"]"#),
        Offer::Groups => ("/socket.io/?EIO=4&transport=websocket&group={n}", r#"42["said","%P%"]"#),
        _ => (path, r#"42["said","%P%"]"#),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let names: std::collections::HashSet<&str> = PEERS.iter().map(|peer| peer.name).collect();
        assert_eq!(names.len(), PEERS.len());
    }

    #[test]
    fn every_peer_has_a_folder_and_every_folder_a_peer() {
        let peers = crate::repository().join("benches/peers");
        let mut folders: Vec<&str> = PEERS.iter().filter_map(|peer| peer.source.folder()).collect();
        folders.sort_unstable();
        let mut found: Vec<String> = std::fs::read_dir(peers)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        found.sort_unstable();
        assert_eq!(folders, found);
    }

    #[test]
    fn who_speaks_socket_io_says_hello() {
        let words = PEERS.iter().find(|peer| peer.name == "socketio").unwrap().words(Offer::Groups);
        assert!(words.contains(&"40") && words[1].ends_with("group={n}"), "{words:?}");
        assert_eq!(PEERS[3].words(Offer::Idle), ["--path", "/"]);
    }
}
