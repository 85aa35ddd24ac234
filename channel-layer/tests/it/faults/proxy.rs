//! A way to a server that can be cut without a word: connections stay open, but nothing passes any more, as when a
//! machine loses its power or a firewall forgets a connection. New connections pass.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

pub(super) struct Proxy {
    port: u16,
    /// How often the way was cut; a connection passes as long as it is what it was when it was opened.
    cuts: Arc<AtomicU64>,
}

impl Proxy {
    /// Listens for connections and passes them on to an address, on threads that end with the test's process.
    pub(super) fn start(to: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let port = listener.local_addr().expect("it listens").port();
        let cuts = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&cuts);
        thread::spawn(move || {
            listener.incoming().flatten().for_each(|client| pass_on(&client, &to, &counted));
        });
        Self { port, cuts }
    }

    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// From now on nothing passes over the connections that are open.
    pub(super) fn cut(&self) {
        self.cuts.fetch_add(1, Ordering::Relaxed);
    }
}

fn pass_on(client: &TcpStream, to: &str, cuts: &Arc<AtomicU64>) {
    if let Ok(server) = TcpStream::connect(to) {
        pump(client, &server, cuts);
        pump(&server, client, cuts);
    }
}

/// Passes on in one direction.
fn pump(from: &TcpStream, to: &TcpStream, cuts: &Arc<AtomicU64>) {
    let (mut from, mut to) = (from.try_clone().expect("a handle"), to.try_clone().expect("a handle"));
    let (cuts, born) = (Arc::clone(cuts), cuts.load(Ordering::Relaxed));
    thread::spawn(move || {
        let mut buffer = [0; 16 * 1024];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            while cuts.load(Ordering::Relaxed) != born {
                thread::park();
            }
            if to.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
}
