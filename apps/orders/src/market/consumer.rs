//! The socket at `/ws/market/`: every tick as it comes, and for those who are slow the newest of each instrument.

use routing::consumers::{Context, Frame, Missed, NoEvents, Result, Scope, WebsocketConsumer};

use super::{Tick, group};

/// A listener to the market, which everybody may be.
#[derive(Debug)]
pub struct MarketConsumer;

impl MarketConsumer {
    /// The consumer of whoever asks.
    ///
    /// # Errors
    /// None: prices are no secret.
    pub fn new(_: &Scope) -> Result<Self> {
        Ok(Self)
    }
}

impl WebsocketConsumer for MarketConsumer {
    type Incoming = Frame;
    type Event = NoEvents;

    async fn connect(&mut self, ctx: &mut Context) -> Result {
        let ticks = group();
        let relay = ctx.relay(&ticks, |tick: &Tick| Frame::json(tick).ok());
        relay.latest_by(|tick| tick.instrument.clone()).await?;
        ctx.accept().await
    }

    /// There is nothing to say to it.
    async fn receive(&mut self, _: &mut Context, _: Frame) -> Result {
        Ok(())
    }

    /// The next tick makes good what was missed.
    async fn missed(&mut self, _: &mut Context, missed: Missed) -> Result {
        tracing::debug!(%missed, "a listener missed ticks of the market");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use routing::consumers::testing::WebsocketCommunicator;
    use routing::consumers::{ChannelLayer, InMemoryLayer, Message, application};
    use std::time::Duration;

    async fn send(layer: &InMemoryLayer, instrument: &str, sent_at: i64) {
        let text = || String::from("1.00");
        let tick = Tick { instrument: instrument.to_owned(), price: text(), change: text(), sent_at };
        layer.group_send(&group(), Message::new(&tick).unwrap()).await.unwrap();
        // On a paused clock, once everybody has had a turn.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    async fn listener(layer: &InMemoryLayer) -> WebsocketCommunicator {
        let app = application(MarketConsumer::new);
        let mut listener = WebsocketCommunicator::new(app, "/ws/market/").layers(layer.clone());
        listener.connect().await.unwrap();
        listener
    }

    #[tokio::test(start_paused = true)]
    async fn a_listener_hears_every_tick() {
        let layer = InMemoryLayer::default();
        let mut listener = listener(&layer).await;
        listener.send(Frame::text("what?")).await;
        for n in 0..100 {
            send(&layer, "EURUSD", n).await;
            let tick = listener.receive_json::<Tick>().await.unwrap();
            assert_eq!((tick.instrument.as_str(), tick.sent_at), ("EURUSD", n));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_listener_hears_the_newest_of_each_instrument() {
        let layer = InMemoryLayer::default();
        let mut listener = listener(&layer).await;
        for n in 0..4_000 {
            send(&layer, ["EURUSD", "SAP"][usize::from(n % 2 == 1)], n).await;
        }
        let mut heard = Vec::new();
        while !listener.receive_nothing().await {
            heard.push(listener.receive_json::<Tick>().await.unwrap());
        }
        assert!(heard.len() < 2_000, "{}", heard.len());
        let mut newest: Vec<_> = heard[heard.len() - 2..].iter().map(|tick| tick.sent_at).collect();
        newest.sort_unstable();
        assert_eq!(newest, [3_998, 3_999]);
    }
}
