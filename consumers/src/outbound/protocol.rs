//! The protocol's own way into the queue of a socket.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;

use super::{Outbound, Phase, UNSENT_BYTES};

/// Writes pongs and close frames into a socket's outbound queue, behind what is queued already.
#[derive(Debug)]
pub struct ProtocolWriter(pub(super) Outbound);

impl AsyncWrite for ProtocolWriter {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.0.0.state.lock();
        match state.phase {
            Phase::Gone => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            // A peer that pings and never reads gets no pongs beyond the limit. Who asks is the connection's
            // task, which is woken in any case when the backlog moves.
            // Once the frames have ended there is no limit, for all that comes then is the close frame.
            Phase::Open if state.backlog.bytes() >= 2 * UNSENT_BYTES => Poll::Pending,
            _ => {
                state.append(Bytes::copy_from_slice(bytes), 0);
                Poll::Ready(Ok(bytes.len()))
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
