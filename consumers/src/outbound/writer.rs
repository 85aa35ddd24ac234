//! The writing half of a socket.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags, send, sendmsg};
use tokio::io::AsyncWrite;
use tokio::net::tcp::OwnedWriteHalf;

/// It is not to wait, nor to end the process when the client is gone.
const FLAGS: SendFlags = SendFlags::NOSIGNAL.union(SendFlags::DONTWAIT);

/// A TCP connection is known by its type, for a relay writes to thousands of them in a row: what has to be looked up in
/// memory on the way to each is most of what we add to the system call.
pub(super) enum Writer {
    Tcp(OwnedWriteHalf),
    Other(Box<dyn AsyncWrite + Send + Unpin>),
}

impl Writer {
    /// Writes what the socket takes at once, on behalf of nobody: who is told that it takes no more has to poll.
    pub(super) fn write_now(&mut self, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let half = match self {
            Self::Tcp(half) => half,
            Self::Other(other) => {
                return Pin::new(other).poll_write(&mut Context::from_waker(Waker::noop()), bytes);
            }
        };
        at_once(send(half.as_ref(), bytes, FLAGS))
    }

    /// The same for some pieces.
    fn write_pieces_now(&self, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match (self, pieces) {
            (Self::Tcp(half), [piece]) => at_once(send(half.as_ref(), piece, FLAGS)),
            (Self::Tcp(half), pieces) => {
                at_once(sendmsg(half.as_ref(), pieces, &mut SendAncillaryBuffer::default(), FLAGS))
            }
            (Self::Other(_), _) => Poll::Pending,
        }
    }

    fn pinned(self: Pin<&mut Self>) -> Pin<&mut (dyn AsyncWrite + Send + Unpin)> {
        match self.get_mut() {
            Self::Tcp(half) => Pin::new(half),
            Self::Other(other) => Pin::new(&mut **other),
        }
    }
}

impl AsyncWrite for Writer {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.pinned().poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.write_pieces_now(pieces) {
            // To be told when it takes more, and in case that it does by now.
            Poll::Pending => self.pinned().poll_write_vectored(cx, pieces),
            written => written,
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pinned().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pinned().poll_shutdown(cx)
    }
}

/// What a write past tokio's notion of what is ready came to. That notion is one more look-up; a poll finds out that it is
/// wrong, and corrects it.
fn at_once(written: rustix::io::Result<usize>) -> Poll<io::Result<usize>> {
    match written {
        Err(Errno::AGAIN | Errno::INTR) => Poll::Pending,
        written => Poll::Ready(written.map_err(io::Error::from)),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    #[tokio::test]
    async fn what_a_full_connection_does_not_take_is_taken_once_it_is_read() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut writer = Writer::Tcp(listener.accept().await.unwrap().0.into_split().1);
        let piece = [7; 64 * 1024];
        let mut written = 0;
        while let Poll::Ready(count) = writer.write_now(&piece) {
            written += count.unwrap();
        }
        assert!(written > 0);
        let reading = tokio::spawn(async move {
            let mut read = Vec::new();
            client.read_to_end(&mut read).await.unwrap();
            read.len()
        });
        // Tokio still takes the connection for ready, and has to find out that it is not.
        writer.write_all(&piece).await.unwrap();
        writer.shutdown().await.unwrap();
        assert_eq!(reading.await.unwrap(), written + piece.len());
    }

    #[tokio::test]
    async fn a_connection_that_is_gone_is_an_error_and_no_signal() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut writer = Writer::Tcp(listener.accept().await.unwrap().0.into_split().1);
        client.set_zero_linger().unwrap();
        drop(client);
        let mut polled = writer.write_now(b"x");
        while matches!(polled, Poll::Ready(Ok(_)) | Poll::Pending) {
            tokio::task::yield_now().await;
            polled = writer.write_now(b"x");
        }
        assert!(matches!(polled, Poll::Ready(Err(_))));
    }
}
