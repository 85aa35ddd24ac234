//! A consumer that does what scripts say and writes down what it hears.

use std::sync::Arc;

use channel_layer::{ChannelName, LayerError, Missed};
use consumers::testing::WebsocketCommunicator;
use consumers::{
    Application, Close, CloseCode, Context, Denial, Error, Event, Frame, Result, StatusCode,
    WebsocketConsumer, application,
};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::{Told, bare, group, settled, told};

/// What happened, in order.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub(crate) fn note(&self, what: impl Into<String>) {
        self.0.lock().push(what.into());
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().clone()
    }

    /// Those entries that begin with a word, without it.
    pub(crate) fn of(&self, word: &str) -> Vec<String> {
        let entries = self.all();
        let rest = entries.iter().filter_map(|entry| entry.strip_prefix(word)?.strip_prefix(' '));
        rest.map(str::to_owned).collect()
    }
}

/// A consumer under orders. A script is steps between semicolons; every frame and every event that it gets is one
/// too, and its hooks may have one. Steps that it does not know it only writes down.
#[derive(Clone)]
pub(crate) struct Probe {
    pub(crate) log: Log,
    /// `wait` takes one permit.
    pub(crate) gate: Arc<Semaphore>,
    connect: &'static str,
    disconnect: &'static str,
    missed: &'static str,
    layer_failed: &'static str,
}

impl Probe {
    /// A probe that does this in `connect`.
    pub(crate) fn new(connect: &'static str) -> Self {
        let (log, gate) = (Log::default(), Arc::new(Semaphore::new(0)));
        Self { log, gate, connect, disconnect: "", missed: "", layer_failed: "" }
    }

    pub(crate) fn disconnect(self, disconnect: &'static str) -> Self {
        Self { disconnect, ..self }
    }

    pub(crate) fn missed(self, missed: &'static str) -> Self {
        Self { missed, ..self }
    }

    pub(crate) fn layer_failed(self, layer_failed: &'static str) -> Self {
        Self { layer_failed, ..self }
    }

    pub(crate) fn app(&self) -> impl Application + use<> {
        let probe = self.clone();
        application(move |_| Ok(probe.clone()))
    }

    pub(crate) fn client(&self) -> WebsocketCommunicator {
        WebsocketCommunicator::new(self.app(), "/probe/")
    }

    /// A client that is connected.
    pub(crate) async fn open(&self) -> WebsocketCommunicator {
        let mut client = self.client();
        client.connect().await.unwrap();
        client
    }

    /// Lets one `wait` go on, and lets everything run that can.
    pub(crate) async fn let_go(&self) {
        self.gate.add_permits(1);
        settled().await;
    }

    async fn run(&mut self, ctx: &mut Context, script: &str) -> Result {
        for step in script.split("; ") {
            let (verb, rest) = step.split_once(' ').unwrap_or((step, ""));
            match verb {
                "accept" => ctx.accept().await?,
                "send" | "flood" | "try" | "name" | "close" => self.talk(ctx, verb, rest).await?,
                "join" => ctx.join(&group(rest)).await?,
                "leave" => ctx.leave(&group(rest)).await?,
                "relay" => ctx.relay(&group(rest), bare).await?,
                "latest" => ctx.relay(&group(rest), bare).latest_by(first_word).await?,
                "group" | "to" | "unencodable" => publish(ctx, verb, rest).await?,
                "wait" => self.gate.acquire().await?.forget(),
                "hang" => std::future::pending().await,
                "yield" => tokio::task::yield_now().await,
                "note" => self.log.note(rest),
                _ => end(verb, rest)?,
            }
        }
        Ok(())
    }

    async fn talk(&mut self, ctx: &mut Context, verb: &str, rest: &str) -> Result {
        match verb {
            "send" => ctx.send(Frame::text(rest.to_owned())).await,
            "name" => {
                let name = ctx.channel_name().await?;
                ctx.send(Frame::text(name.as_str().to_owned())).await
            }
            "close" => ctx.close(close_of(rest)).await,
            "try" => {
                let sent = ctx.send(Frame::text(rest.to_owned())).await;
                self.log.note(format!("tried {sent:?}"));
                Ok(())
            }
            // So many frames of one KiB, numbered.
            _ => {
                for n in 0..rest.parse()? {
                    ctx.send(Frame::text(kilobyte(n))).await?;
                }
                Ok(())
            }
        }
    }
}

/// What tests key events by.
fn first_word(told: &Told) -> String {
    told.text().split(' ').next().unwrap_or_default().to_owned()
}

/// A text of 1,024 bytes that begins with a number.
pub(crate) fn kilobyte(n: usize) -> String {
    format!("{n:<1024}")
}

async fn publish(ctx: &Context, verb: &str, rest: &str) -> Result {
    let (to, text) = rest.split_once(' ').unwrap_or((rest, ""));
    match verb {
        "group" => ctx.group_send(&group(to), &told(text)).await,
        "to" => ctx.send_to(&ChannelName::new(to)?, &told(text)).await,
        _ => ctx.group_send(&group("g"), &"no map").await,
    }
}

fn close_of(rest: &str) -> Close {
    let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
    Close::new(code.parse::<u16>().unwrap(), reason)
}

/// The ways not to go on.
fn end(verb: &str, rest: &str) -> Result {
    match verb {
        "panic" => panic!("as the script says"),
        "fail" => Err(Error::defect("as the script says")),
        "end" => Err(close_of(rest).into()),
        "deny" => Err(Denial::new(StatusCode::IM_A_TEAPOT, rest).header("x-hint", "tea").into()),
        "away" => Err(LayerError::Unavailable("as the script says".into()).into()),
        _ => Ok(()),
    }
}

impl WebsocketConsumer for Probe {
    type Incoming = String;
    type Event = Told;

    async fn connect(&mut self, ctx: &mut Context) -> Result {
        self.log.note("connect");
        self.run(ctx, self.connect).await
    }

    async fn receive(&mut self, ctx: &mut Context, script: String) -> Result {
        self.log.note(format!("receive {script}"));
        self.run(ctx, &script).await
    }

    async fn event(&mut self, ctx: &mut Context, event: Event<Told>) -> Result {
        self.log.note(format!("event {}", event.text()));
        self.run(ctx, event.text()).await
    }

    async fn missed(&mut self, ctx: &mut Context, missed: Missed) -> Result {
        self.log.note(format!("missed {missed}"));
        self.run(ctx, self.missed).await
    }

    async fn layer_failed(&mut self, ctx: &mut Context, error: &LayerError) -> Result {
        self.log.note(format!("layer_failed {error}"));
        self.run(ctx, self.layer_failed).await
    }

    async fn disconnect(&mut self, ctx: &mut Context, code: CloseCode) -> Result {
        self.log.note(format!("disconnect {}", code.as_u16()));
        self.run(ctx, self.disconnect).await
    }
}
