//! RFC 6455 as the server keeps it, byte for byte, while a busy group makes noise on every socket.

mod closing;
mod control;
mod fragments;
mod property;
mod sizes;
mod utf8;
mod violations;

use routing::UrlRouter;

use crate::support::{Echo, Publisher, Site, make_noise};

/// A site whose `/echo` returns every frame amid noise.
async fn noisy() -> Site {
    let site = Site::start(|ended| {
        UrlRouter::new()
            .route("/echo", move |_| Ok(Echo(ended.clone())))
            .route("/publish", |_| Ok(Publisher))
            .route("/parting", |_| Ok(closing::Parting))
    });
    let site = site.await;
    tokio::spawn(make_noise(site.addr));
    site
}

/// The code with which a socket ends that sends these writes; its client and its consumer must agree on it.
async fn fate<B: AsRef<[u8]>>(site: &mut Site, writes: impl IntoIterator<Item = B>) -> u16 {
    let mut client = site.open("/echo").await;
    client.send_apart(writes).await;
    let (code, _) = client.closed().await;
    assert_eq!(site.ended().await, code);
    code
}
