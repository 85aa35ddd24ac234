//! The demultiplexer's own side of one socket: it hands frames to streams, and the end to all of them.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::envelope::Envelope;
use super::incoming::{self, Addressed, Answer};
use super::multiplexed::relayed;
use super::stream::{Ends, Stream};
use super::{INBOUND, INBOUND_BYTES, Route};
use crate::{Close, CloseCode, Context, Frame, GroupName, NoEvents, Result, Shutdown, WebsocketConsumer};

/// The streams of one socket, each a task; they end with the last handle to this.
#[derive(Clone, Default)]
pub(crate) struct Tasks(Arc<Mutex<JoinSet<()>>>);

impl Tasks {
    /// Waits until all have ended.
    pub(crate) async fn ended(&self) {
        while std::future::poll_fn(|cx| self.0.lock().poll_join_next(cx)).await.is_some() {}
    }
}

/// The consumer of a demultiplexed socket.
pub(crate) struct Session {
    routes: Arc<Vec<Route>>,
    groups: Vec<GroupName>,
    shutdown: Shutdown,
    tasks: Tasks,
    /// Where the frames of each stream go, in the order of the routes.
    streams: Vec<mpsc::Sender<Box<Addressed>>>,
    /// For the bytes that wait in them.
    room: Arc<Semaphore>,
    closing: watch::Sender<Option<Close>>,
}

impl Session {
    pub(crate) fn new(
        routes: Arc<Vec<Route>>,
        groups: Vec<GroupName>,
        shutdown: Shutdown,
        tasks: Tasks,
    ) -> Self {
        let (closing, streams) = (watch::Sender::new(None), Vec::new());
        let room = Arc::new(Semaphore::new(INBOUND_BYTES as usize));
        Self { routes, groups, shutdown, tasks, streams, room, closing }
    }

    /// Opens a stream and waits until its application has had its first turn, no longer.
    async fn open(&mut self, route: &Route, ctx: &Context) {
        let (sender, frames) = mpsc::channel(INBOUND);
        let (begun, has_begun) = oneshot::channel();
        let envelope = match ctx.stream() {
            None => Arc::clone(&route.envelope),
            Some(outer) => Arc::new(Envelope::new(route.envelope.name(), Some(outer.envelope()))),
        };
        let (parent, closing, shutdown) =
            (ctx.outbound().clone(), self.closing.subscribe(), self.shutdown.clone());
        let ends = Ends { parent, frames, closing, shutdown };
        let life = Stream::run(envelope, Arc::clone(&route.app), ctx.scope().clone(), ends, begun);
        self.tasks.0.lock().spawn(life);
        self.streams.push(sender);
        // It is told in any case, unless the task is aborted.
        let _ = has_begun.await;
    }
}

impl WebsocketConsumer for Session {
    type Incoming = Frame;
    type Event = NoEvents;

    async fn connect(&mut self, ctx: &mut Context) -> Result {
        // Before accepting, so that a layer that is away refuses the handshake.
        for group in std::mem::take(&mut self.groups) {
            ctx.relay(&group, relayed).await?;
        }
        ctx.accept().await?;
        for route in Arc::clone(&self.routes).iter() {
            self.open(route, ctx).await;
        }
        Ok(())
    }

    async fn receive(&mut self, ctx: &mut Context, frame: Frame) -> Result {
        let find = |name: &str| self.routes.iter().position(|route| route.envelope.name() == name);
        let (number, mut addressed) = match incoming::read(&frame, find) {
            Ok(found) => found,
            Err(answer) => return ctx.send_json(&answer).await,
        };
        let Some(stream) = self.streams.get(number) else { return Ok(()) };
        let sent = tokio::select! {
            sent = async {
                let bytes = addressed.payload.payload().len();
                let bytes = u32::try_from(bytes).unwrap_or(INBOUND_BYTES).min(INBOUND_BYTES);
                addressed.room = Arc::clone(&self.room).acquire_many_owned(bytes).await.ok();
                stream.send(addressed).await
            } => sent,
            // What waits when a shutdown begins is not handled any more, and must not hold it up.
            () = self.shutdown.draining() => Ok(()),
        };
        match sent {
            Ok(()) => Ok(()),
            Err(mpsc::error::SendError(addressed)) => {
                let name = self.routes[number].envelope.name();
                ctx.send_json(&Answer::ended(name, *addressed)).await
            }
        }
    }

    async fn disconnect(&mut self, _: &mut Context, code: CloseCode) -> Result {
        self.closing.send_replace(Some(code.into()));
        // What is queued for a stream is handled before it sees that nothing more comes.
        self.streams.clear();
        Ok(())
    }
}
