//! The writing half of a socket.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags, Shutdown, send, sendmsg, shutdown};
use tokio::io::AsyncWrite;
use tokio::net::tcp::OwnedWriteHalf;

use super::Shared;

/// It is not to wait, nor to end the process when the client is gone.
const FLAGS: SendFlags = SendFlags::NOSIGNAL.union(SendFlags::DONTWAIT);

/// A TCP connection is known by its type, for a relay writes to thousands of them in a row: what has to be looked up in
/// memory on the way to each is most of what we add to the system call.
pub(super) enum Writer<'a> {
    Tcp(&'a OwnedWriteHalf),
    Other(&'a mut (dyn AsyncWrite + Send + Unpin)),
}

impl<'a> Writer<'a> {
    /// Where a queue writes to, once it has a socket.
    pub(super) fn of(
        shared: &'a Shared,
        other: &'a mut Option<Box<dyn AsyncWrite + Send + Unpin>>,
    ) -> Option<Self> {
        match shared.tcp.get() {
            Some(tcp) => Some(Self::Tcp(tcp)),
            None => Some(Self::Other(&mut **other.as_mut()?)),
        }
    }

    /// Writes what the socket takes at once, on behalf of nobody: who is told that it takes no more has to poll.
    pub(super) fn write_now(&mut self, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(tcp) => at_once(send(tcp.as_ref(), bytes, FLAGS)),
            Self::Other(other) => Pin::new(other).poll_write(&mut Context::from_waker(Waker::noop()), bytes),
        }
    }

    /// Writes what the socket takes; when that is nothing, the task is woken when it takes more.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let tcp = match self {
            Self::Tcp(tcp) => tcp,
            Self::Other(other) => return Pin::new(other).poll_write_vectored(cx, pieces),
        };
        let written = match pieces {
            [piece] => send(tcp.as_ref(), piece, FLAGS),
            pieces => sendmsg(tcp.as_ref(), pieces, &mut SendAncillaryBuffer::default(), FLAGS),
        };
        if let Poll::Ready(written) = at_once(written) {
            return Poll::Ready(written);
        }
        // To be told when it takes more, and in case that it does by now.
        loop {
            ready!(tcp.as_ref().poll_write_ready(cx))?;
            match tcp.try_write_vectored(pieces) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(_) => Poll::Ready(Ok(())),
            Self::Other(other) => Pin::new(other).poll_flush(cx),
        }
    }

    /// Ends the writing half, so that the peer sees the end of the stream.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(tcp) => Poll::Ready(Ok(shutdown(tcp.as_ref(), Shutdown::Write)?)),
            Self::Other(other) => Pin::new(other).poll_shutdown(cx),
        }
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
    use std::future::poll_fn;

    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    #[tokio::test]
    async fn what_a_full_connection_does_not_take_is_taken_once_it_is_read() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let half = listener.accept().await.unwrap().0.into_split().1;
        let mut writer = Writer::Tcp(&half);
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
        let pieces = [IoSlice::new(&piece), IoSlice::new(b"x")];
        written += poll_fn(|cx| writer.poll_write(cx, &pieces)).await.unwrap();
        poll_fn(|cx| writer.poll_shutdown(cx)).await.unwrap();
        assert_eq!(reading.await.unwrap(), written);
    }

    #[tokio::test]
    async fn a_connection_that_is_gone_is_an_error_and_no_signal() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let half = listener.accept().await.unwrap().0.into_split().1;
        let mut writer = Writer::Tcp(&half);
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
