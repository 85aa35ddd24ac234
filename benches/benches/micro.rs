//! What single steps cost: a message, the hub, a frame, a handler. `cargo bench -p benches`, or with a part of a name.

use std::io::Cursor;
use std::sync::Arc;

use benches::{TEXT, encode_masked};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use routing::consumers::channel_layer::{Limits, Mailbox};
use routing::consumers::testing::WebsocketCommunicator;
use routing::consumers::{
    ChannelLayer, Context, Frame, GroupName, InMemoryLayer, Message, NoEvents, Result, WebsocketConsumer,
    application, channel_layer,
};
use serde::{Deserialize, Serialize};
use tokio::runtime::{Builder, Runtime};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketContext};

fn main() {
    divan::main();
}

/// An event of about 128 bytes.
#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename = "said")]
struct Said {
    number: u64,
    text: String,
}

fn said() -> Said {
    Said { number: 7, text: "x".repeat(100) }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a thread is enough")
}

#[divan::bench]
fn message_is_packed(bencher: Bencher<'_, '_>) {
    let said = said();
    bencher.bench(|| Message::new(&said));
}

#[divan::bench]
fn message_is_decoded(bencher: Bencher<'_, '_>) {
    let packed = Message::new(&said()).expect("it is small").packed().clone();
    let fresh = || Message::from_packed(packed.clone()).expect("it was packed by us");
    bencher.with_inputs(fresh).bench_values(|message| message.decode::<Said>().is_ok());
}

#[divan::bench]
fn message_is_decoded_for_the_second_time(bencher: Bencher<'_, '_>) {
    let message = Message::new(&said()).expect("it is small");
    drop(message.decode::<Said>());
    bencher.bench(|| message.decode::<Said>().is_ok());
}

/// Makes mailboxes that are all in a group.
fn fill(runtime: &Runtime, layer: &InMemoryLayer, group: &GroupName, members: usize) -> Vec<Mailbox> {
    let join = async || {
        let mailbox = layer.new_channel("specific").await?;
        layer.group_add(group, mailbox.name()).await?;
        Ok::<_, channel_layer::LayerError>(mailbox)
    };
    (0..members).map(|_| runtime.block_on(join()).expect("memory is never away")).collect()
}

/// A group whose members read between two sends, so that nobody is ever full.
#[divan::bench(args = [1, 1_000, 100_000], sample_size = 1, sample_count = 20)]
fn group_send(bencher: Bencher<'_, '_>, members: usize) {
    let runtime = runtime();
    let layer = InMemoryLayer::new(Limits::default());
    let group = GroupName::new("everybody").expect("the name is within the grammar");
    let mut mailboxes = fill(&runtime, &layer, &group, members);
    let message = Message::new(&said()).expect("it is small");
    bencher
        .counter(ItemsCount::new(members))
        .with_inputs(|| {
            mailboxes.iter_mut().for_each(|mailbox| while mailbox.try_recv().is_some() {});
            message.clone()
        })
        .bench_local_values(|message| runtime.block_on(layer.group_send(&group, message)));
}

/// As everything that our server sends but for the protocol's own frames.
#[divan::bench(args = [128, 4096, 65_536])]
fn frame_is_encoded(bencher: Bencher<'_, '_>, length: usize) {
    let frame = Frame::text("x".repeat(length));
    bencher.bench(|| black_box(&frame).wire());
}

/// As everything that our server reads: by tungstenite, which unmasks it and checks that it is UTF-8.
#[divan::bench(args = [128, 4096, 65_536])]
fn frame_is_read(bencher: Bencher<'_, '_>, length: usize) {
    let mut bytes = Vec::new();
    encode_masked(TEXT, &vec![b'x'; length], &mut bytes);
    let fresh = || (WebSocketContext::new(Role::Server, None), Cursor::new(bytes.clone()));
    bencher.with_inputs(fresh).bench_local_refs(|(protocol, stream)| protocol.read(stream).is_ok());
}

/// A member comes and goes; it must not matter how many there are.
#[divan::bench(args = [10, 100_000])]
fn member_comes_and_goes(bencher: Bencher<'_, '_>, members: usize) {
    let (runtime, layer) = (runtime(), InMemoryLayer::new(Limits::default()));
    let group = GroupName::new("everybody").expect("the name is within the grammar");
    let mailboxes = fill(&runtime, &layer, &group, members);
    let name = mailboxes[0].name();
    bencher.bench_local(|| {
        runtime.block_on(async {
            layer.group_discard(&group, name).await?;
            layer.group_add(&group, name).await
        })
    });
}

/// What a client of `/change` in `site` sends and gets.
#[derive(Serialize, Deserialize)]
struct Line {
    text: String,
    #[serde(default)]
    nth: u64,
}

fn line() -> Line {
    Line { text: "x".repeat(128), nth: 7 }
}

/// The first of the three steps that `/change` takes besides delivering: once for each message.
#[divan::bench]
fn change_is_parsed(bencher: Bencher<'_, '_>) {
    let text = serde_json::to_string(&line()).expect("it is JSON");
    bencher.bench(|| serde_json::from_str::<Line>(black_box(&text)).is_ok());
}

/// The second, once for each receiver: its own copy, with another number.
#[divan::bench]
fn change_is_made(bencher: Bencher<'_, '_>) {
    let line = line();
    bencher.bench(|| Line { text: black_box(&line).text.clone(), nth: line.nth + 1 });
}

/// The third, once for each receiver. (`send_json` writes the same into the frame's place at once.)
#[divan::bench]
fn change_is_encoded(bencher: Bencher<'_, '_>) {
    let line = line();
    bencher.bench(|| Frame::json(black_box(&line)).is_ok());
}

struct Echo;

impl WebsocketConsumer for Echo {
    type Incoming = Frame;
    type Event = NoEvents;

    async fn receive(&mut self, ctx: &mut Context, frame: Frame) -> Result {
        ctx.send(frame).await
    }
}

/// From the client's frame to the answer, without a socket: two tasks, the client's and the connection's.
#[divan::bench]
fn consumer_answers(bencher: Bencher<'_, '_>) {
    let runtime = runtime();
    let layer: Arc<dyn ChannelLayer> = Arc::new(InMemoryLayer::new(Limits::default()));
    let mut client = WebsocketCommunicator::new(application(|_| Ok(Echo)), "/").layers(layer);
    runtime.block_on(client.connect()).expect("an echo takes everybody");
    bencher.bench_local(|| {
        runtime.block_on(async {
            client.send(Frame::text("hello")).await;
            client.receive().await.is_ok()
        })
    });
    runtime.block_on(client.disconnect(1000));
}
