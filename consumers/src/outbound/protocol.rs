//! The protocol's own way into the queue of a socket.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;

use super::{Outbound, Phase};

/// Writes pongs and close frames into a socket's outbound queue, behind what is queued already.
///
/// It takes whole frames or nothing: a peer that pings and never reads gets no more pongs when 2,560 pieces or 2 MiB are
/// unsent, which is twice what a socket may hold. Who asks is the connection's task, which is woken when the backlog moves.
#[derive(Debug)]
pub struct ProtocolWriter {
    outbound: Outbound,
    is_closing: bool,
}

impl ProtocolWriter {
    pub(super) fn new(outbound: Outbound) -> Self {
        Self { outbound, is_closing: false }
    }

    /// From here on there is always room: what comes is the close frame, and nothing after it.
    pub fn make_room(&mut self) {
        self.is_closing = true;
    }
}

impl AsyncWrite for ProtocolWriter {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.outbound.0.state.lock();
        if state.phase == Phase::Gone {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if !self.is_closing && !state.backlog.has_room_for_protocol() {
            return Poll::Pending;
        }
        state.append(Bytes::copy_from_slice(bytes), 0);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::super::queue::UNSENT_PIECES;
    use super::super::{UNSENT_BYTES, UNSENT_FRAMES};
    use super::*;

    fn is_taken(writer: &mut ProtocolWriter, bytes: &[u8]) -> bool {
        Pin::new(writer).poll_write(&mut Context::from_waker(Waker::noop()), bytes).is_ready()
    }

    #[test]
    fn a_peer_that_pings_and_never_reads_costs_no_more_than_so_much() {
        for (pong, most) in
            [(vec![0; 2], UNSENT_PIECES), (vec![0; 127], UNSENT_PIECES), (vec![0; 1 << 20], 2)]
        {
            let mut writer = Outbound::new().protocol_writer();
            assert_eq!((0..10_000).filter(|_| is_taken(&mut writer, &pong)).count(), most);
        }
    }

    #[test]
    fn the_close_frame_finds_room() {
        let outbound = Outbound::new();
        let mut writer = outbound.protocol_writer();
        while is_taken(&mut writer, &[0; 2]) {}
        outbound.finish();
        assert!(!is_taken(&mut writer, b"a pong while the last handler runs"));
        writer.make_room();
        assert!(is_taken(&mut writer, b"close"));
    }

    #[test]
    fn frames_at_their_limits_leave_room_for_a_ping() {
        let outbound = Outbound::new();
        let frame = Bytes::from(vec![0; UNSENT_BYTES / UNSENT_FRAMES]);
        while outbound.push(&mut frame.clone()).is_ok() {}
        assert!(is_taken(&mut outbound.protocol_writer(), &[0; 2]));
    }
}
