//! What a handler can do: the verbs of a consumer.

mod accept;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::task::{self, Poll};

use bytes::Bytes;
use channel_layer::{ChannelName, Delivery, GroupName, Mailbox, Message};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;
use tokio::time::Interval;

pub use accept::Accept;

use crate::demultiplexer::Stream;
use crate::frame::json_wire;
use crate::layers::Slot;
use crate::outbound::NotQueued;
use crate::relay::{Membership, Receiver, Rendering};
use crate::transport::Handshake;
use crate::{Close, Error, Event, Frame, FromFrame, Outbound, Result, Scope, heartbeat};

/// The most groups that one connection, or one stream of a demultiplexer, may be in, joined and relayed together.
pub const GROUPS_PER_CONNECTION: usize = 1024;

/// A connection as its consumer's handlers see it.
///
/// It comes as a parameter and cannot be kept, so what a handler does ends with the handler. All groups are left
/// when the connection ends, however it ends.
pub struct Context {
    scope: Scope,
    outbound: Outbound,
    handshake: Option<oneshot::Sender<Handshake>>,
    closing: Option<Box<Close>>,
    alias: &'static str,
    member: Option<Member>,
    /// There is a renewal that the clock does not know of yet.
    begins_renewal: bool,
    relays: Vec<Membership>,
    stream: Option<Arc<Stream>>,
}

/// The connection's own channel, which is made when it is first needed.
struct Member {
    mailbox: Mailbox,
    /// Boxed, unlike the mailbox, since no event needs it.
    joined: Box<Joined>,
}

/// The groups that the channel is in, and what keeps it there.
struct Joined {
    groups: BTreeSet<GroupName>,
    renewal: Interval,
    /// The renewal in progress: kept here because waiting for it is interrupted by whatever comes first. The mutex
    /// is never locked; it lets the connection be shared between threads although the future cannot.
    renewing: Option<Mutex<BoxFuture<'static, ()>>>,
}

/// What a connection hears from the channel layer.
pub(crate) enum Heard {
    Delivery(Delivery),
    /// The client went away before its handshake was answered.
    Unanswered,
}

impl Context {
    pub(crate) fn new(
        scope: Scope,
        outbound: Outbound,
        handshake: oneshot::Sender<Handshake>,
        alias: &'static str,
    ) -> Self {
        let handshake = Some(handshake);
        Self {
            scope,
            outbound,
            handshake,
            closing: None,
            alias,
            member: None,
            begins_renewal: false,
            relays: Vec::new(),
            stream: None,
        }
    }

    /// Makes this the context of a demultiplexer's stream, if it is one.
    pub(crate) fn on_stream(mut self, stream: Option<Arc<Stream>>) -> Self {
        self.stream = stream;
        self
    }

    /// The connection's request, route and user.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Accepts the handshake. Say more before awaiting it: `ctx.accept().subprotocol("v1").header("x-a", "b").await`.
    ///
    /// # Errors
    /// A defect when the handshake is answered already, when the sub-protocol was not offered or when a header is
    /// not legal; [`Error::Gone`] when the client is.
    pub fn accept(&mut self) -> Accept<'_> {
        Accept::new(self)
    }

    /// Sends a frame. When the client is slow and the outbound queue full, this waits; so a slow client slows its
    /// own consumer, and nobody else's.
    ///
    /// # Errors
    /// [`Error::Gone`] when the socket has ended; a defect before it is accepted, and for what is no JSON on a stream
    /// of a [`Demultiplexer`](crate::Demultiplexer).
    pub async fn send(&mut self, frame: Frame) -> Result {
        let wire = match &self.stream {
            None => frame.wire(),
            Some(stream) => stream.around(&frame)?,
        };
        self.push(wire).await
    }

    /// Sends a value as JSON text.
    ///
    /// # Errors
    /// As [`send`](Self::send), and a defect when the value has no JSON form.
    pub async fn send_json<T: Serialize + ?Sized + Sync>(&mut self, value: &T) -> Result {
        let wire = match &self.stream {
            None => json_wire(value)?,
            Some(stream) => stream.around_json(&serde_json::to_string(value)?),
        };
        self.push(wire).await
    }

    /// Sends an event to the client as JSON text, which is encoded once for all who forward the same event.
    ///
    /// # Errors
    /// As [`send_json`](Self::send_json).
    pub async fn forward<E: Serialize + 'static>(&mut self, event: &Event<E>) -> Result {
        let wire = match &self.stream {
            None => event.wire()?,
            Some(stream) => stream.around_event(event)?,
        };
        self.push(wire).await
    }

    /// Ends the socket after this handler; before the handshake is accepted, refuses it with 403. What is sent after this
    /// fails with [`Error::Gone`].
    ///
    /// # Errors
    /// None; it returns a result so that it can end a handler.
    pub async fn close(&mut self, close: impl Into<Close> + Send) -> Result {
        self.closing.get_or_insert_with(|| Box::new(close.into()));
        self.outbound.finish();
        Ok(())
    }

    /// Makes this consumer hear what is sent to a group, in its `event` handler.
    ///
    /// # Errors
    /// When the layer is away or none is configured; a defect over [`GROUPS_PER_CONNECTION`] groups.
    pub async fn join(&mut self, group: &GroupName) -> Result {
        if self.member.as_ref().is_some_and(|member| member.joined.groups.contains(group)) {
            return Ok(());
        }
        self.check_room_for_a_group()?;
        let layer = self.slot()?.layer;
        let member = self.member().await?;
        layer.group_add(group, member.mailbox.name()).await?;
        member.joined.groups.insert(group.clone());
        Ok(())
    }

    /// Passes the events of a group on to the client without troubling this consumer: `render` makes a frame of an
    /// event, or none, once per event and process, and the same bytes go to every socket that relays the group by
    /// the same function. Say more before awaiting it: [`latest_by`](Relaying::latest_by).
    ///
    /// What the handler that begins a relay sends before it returns comes before what the relay passes on: events that
    /// arrive while it runs are kept back until then. A socket whose client is too slow misses events; the consumer is
    /// told in [`missed`](crate::WebsocketConsumer::missed), and what comes after the gap is kept back until it was.
    ///
    /// # Errors
    /// As [`join`](Self::join).
    pub fn relay<'a, E>(
        &'a mut self,
        group: &'a GroupName,
        render: fn(&E) -> Option<Frame>,
    ) -> Relaying<'a, E> {
        Relaying { context: self, group, rendering: Rendering { render, latest_by: None } }
    }

    async fn begin_relay<E>(&mut self, group: &GroupName, rendering: Rendering<E>) -> Result
    where
        E: DeserializeOwned + Send + Sync + 'static,
    {
        self.outbound.hold();
        if self.relays.iter().any(|membership| membership.is(group, &rendering)) {
            return Ok(());
        }
        self.check_room_for_a_group()?;
        let Slot { layer, relays } = self.slot()?;
        let envelope = self.stream.as_deref().map(Stream::envelope);
        let to = Receiver { outbound: &self.outbound, envelope };
        let membership = relays.join(&layer, group, &rendering, to).await?;
        // Most connections relay one group.
        self.relays.reserve_exact(1);
        self.relays.push(membership);
        Ok(())
    }

    /// Leaves a group that was joined or is relayed; nothing happens when it was neither.
    ///
    /// # Errors
    /// When the layer is away.
    pub async fn leave(&mut self, group: &GroupName) -> Result {
        self.relays.retain(|membership| membership.group() != group);
        if let Some(Member { mailbox, joined }) = &mut self.member
            && joined.groups.contains(group)
        {
            if joined.renewing.take().is_some() {
                // It might join the group again; it starts anew without it.
                joined.renewal.reset_immediately();
                self.begins_renewal = true;
            }
            let slot = self.scope.channel_layers().slot(self.alias);
            if let Some(Slot { layer, .. }) = slot {
                layer.group_discard(group, mailbox.name()).await?;
            }
            joined.groups.remove(group);
        }
        Ok(())
    }

    /// Sends an event to all members of a group.
    ///
    /// # Errors
    /// When the layer is away or none is configured; a defect when the event has no form as a message.
    pub async fn group_send<E: Serialize + ?Sized + Sync>(&self, group: &GroupName, event: &E) -> Result {
        let message = Message::new(event)?;
        Ok(self.slot()?.layer.group_send(group, message).await?)
    }

    /// Sends an event to one channel.
    ///
    /// # Errors
    /// When the channel is full, the layer away or none configured; a defect when the event has no form as a message.
    pub async fn send_to<E: Serialize + ?Sized + Sync>(&self, channel: &ChannelName, event: &E) -> Result {
        let message = Message::new(event)?;
        Ok(self.slot()?.layer.send(channel, message).await?)
    }

    /// The name of the connection's own channel, for others to answer to; what they send comes to `event`.
    ///
    /// # Errors
    /// When the layer is away or none is configured.
    pub async fn channel_name(&mut self) -> Result<ChannelName> {
        Ok(self.member().await?.mailbox.name().clone())
    }

    async fn push(&mut self, mut wire: Bytes) -> Result {
        if self.handshake.is_some() {
            return Err(Error::defect("accept the handshake before sending"));
        }
        loop {
            match self.outbound.push(&mut wire) {
                Ok(()) => return Ok(()),
                Err(NotQueued::Full) => self.outbound.room().await,
                Err(NotQueued::Gone) => return Err(Error::Gone),
            }
        }
    }

    fn slot(&self) -> Result<Slot> {
        let slot = self.scope.channel_layers().slot(self.alias).cloned();
        slot.ok_or_else(|| Error::defect(format!("no channel layer is configured as {:?}", self.alias)))
    }

    async fn member(&mut self) -> Result<&mut Member> {
        if self.member.is_none() {
            let layer = self.slot()?.layer;
            let mailbox = layer.new_channel("specific").await?;
            let renewal = heartbeat::renewal(&*layer);
            let joined = Box::new(Joined { groups: BTreeSet::new(), renewal, renewing: None });
            self.member = Some(Member { mailbox, joined });
            self.begins_renewal = true;
        }
        self.member.as_mut().ok_or(Error::Gone)
    }

    fn check_room_for_a_group(&self) -> Result {
        let joined = self.member.as_ref().map_or(0, |member| member.joined.groups.len());
        if joined + self.relays.len() >= GROUPS_PER_CONNECTION {
            return Err(Error::defect(format!("a connection is in at most {GROUPS_PER_CONNECTION} groups")));
        }
        Ok(())
    }

    /// What comes from the layer next, or that the client went away before its handshake was answered.
    pub(crate) fn poll_heard(&mut self, cx: &mut task::Context<'_>) -> Poll<Heard> {
        if let Some(handshake) = &mut self.handshake
            && handshake.poll_closed(cx).is_ready()
        {
            return Poll::Ready(Heard::Unanswered);
        }
        match &mut self.member {
            Some(member) => member.mailbox.poll_recv(cx).map(Heard::Delivery),
            None => Poll::Pending,
        }
    }

    /// Whether [`poll_renewal`](Self::poll_renewal) has to be called though no time has passed.
    pub(crate) fn begins_renewal(&mut self) -> bool {
        std::mem::take(&mut self.begins_renewal)
    }

    /// Renews the connection's memberships when it is time, of which the clock tells the task of `cx`.
    pub(crate) fn poll_renewal(&mut self, cx: &mut task::Context<'_>) {
        let Some(Member { mailbox, joined }) = &mut self.member else { return };
        let Joined { groups, renewal, renewing } = &mut **joined;
        loop {
            if let Some(renewing) = renewing
                && renewing.get_mut().as_mut().poll(cx).is_pending()
            {
                return;
            }
            *renewing = None;
            if renewal.poll_tick(cx).is_pending() {
                return;
            }
            let Some(layer) = self.scope.channel_layers().get(self.alias).cloned() else { return };
            let (groups, name) = (groups.clone(), mailbox.name().clone());
            let renew = async move { heartbeat::renew(&*layer, &groups, &name).await };
            *renewing = Some(Mutex::new(renew.boxed()));
        }
    }

    /// What a frame is to the consumer. On a stream, a payload that cannot be read is answered, and is none.
    pub(crate) async fn read<T: FromFrame>(&mut self, frame: Frame) -> Result<Option<T>> {
        let Some(stream) = &self.stream else { return T::from_frame(frame).map(Some) };
        let payload = frame.clone();
        match T::from_frame(frame) {
            Ok(incoming) => Ok(Some(incoming)),
            Err(error) => {
                let answer = stream.unreadable(&error, &payload);
                self.push(answer).await?;
                Ok(None)
            }
        }
    }

    /// The demultiplexer's stream that this is the context of.
    pub(crate) fn stream(&self) -> Option<&Arc<Stream>> {
        self.stream.as_ref()
    }

    pub(crate) fn stream_name(&self) -> Option<&str> {
        self.stream.as_ref().map(|stream| stream.envelope().name())
    }

    /// Whether the frame that is being handled names a request, which its answers repeat.
    #[cfg(feature = "database")]
    pub(crate) fn has_request_id(&self) -> bool {
        self.stream.as_ref().is_some_and(|stream| stream.has_request_id())
    }

    /// From here on, what is sent belongs to the frame that the socket has said last.
    pub(crate) fn begin_request(&self) {
        if let Some(stream) = &self.stream {
            stream.begin_request();
        }
    }

    pub(crate) fn end_request(&self) {
        if let Some(stream) = &self.stream {
            stream.end_request();
        }
    }

    pub(crate) fn outbound(&self) -> &Outbound {
        &self.outbound
    }

    pub(crate) fn is_connecting(&self) -> bool {
        self.handshake.is_some()
    }

    /// The close that a handler has asked for.
    pub(crate) fn closing(&self) -> Option<&Close> {
        self.closing.as_deref()
    }

    pub(crate) fn refuse(&mut self, error: Error) {
        self.outbound.abandon();
        if let Some(handshake) = self.handshake.take() {
            // A client that is gone needs no answer.
            let _ = handshake.send(Handshake::Deny(error.into_denial()));
        }
    }

    /// Leaves every group at once.
    pub(crate) fn leave_all(&mut self) {
        self.member = None;
        self.relays = Vec::new();
    }
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("scope", &self.scope).finish_non_exhaustive()
    }
}

/// A relay in the making: await it to begin it.
#[must_use = "the group is relayed once this was awaited"]
pub struct Relaying<'a, E> {
    context: &'a mut Context,
    group: &'a GroupName,
    rendering: Rendering<E>,
}

impl<E> Relaying<'_, E> {
    /// Keeps only the latest event of each key for a client that is too slow for all of them: in the queue of its
    /// socket a frame takes the place of an older one of the same key that has not begun to leave. So what waits for
    /// a slow client is hardly more than one frame of each key, such a relay never makes its socket full, and what was replaced
    /// does not count as missed. A client that keeps up gets every event. It is for what is true until the next one:
    /// prices, positions, progress.
    ///
    /// ```
    /// # use consumers::{Context, Frame, GroupName, Result};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Serialize, Deserialize)]
    /// # struct Price { instrument: String, price: String }
    /// # async fn f(ctx: &mut Context, prices: GroupName) -> Result {
    /// ctx.relay(&prices, |price: &Price| Frame::json(price).ok()).latest_by(|price| price.instrument.clone()).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Beyond [`UNSENT_KEYS`](crate::UNSENT_KEYS) keys or [`UNSENT_BYTES`](crate::UNSENT_BYTES) that wait, all such
    /// relays of a socket together, events are missed. Behind a [`Demultiplexer`](crate::Demultiplexer) the queue is
    /// the stream's own, which begins to fill once that of the socket is full.
    ///
    /// As a frame takes the place of an older one, it may come before what was sent between the two; except for what
    /// the handler sends that awaits this.
    pub fn latest_by(mut self, key: fn(&E) -> String) -> Self {
        self.rendering.latest_by = Some(key);
        self
    }
}

impl<'a, E: DeserializeOwned + Send + Sync + 'static> IntoFuture for Relaying<'a, E> {
    type Output = Result;
    type IntoFuture = BoxFuture<'a, Result>;

    fn into_future(self) -> Self::IntoFuture {
        self.context.begin_relay(self.group, self.rendering).boxed()
    }
}

impl<E> std::fmt::Debug for Relaying<'_, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Relaying").field("group", self.group).finish_non_exhaustive()
    }
}
