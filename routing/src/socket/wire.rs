//! What tungstenite talks over: it reads from the connection and writes into the outbound queue.
//!
//! An idle connection holds no read buffer worth the name. What the kernel has is read into a buffer that all
//! connections of a thread share, in one system call, and only what tungstenite does not take at once is kept.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use consumers::ProtocolWriter;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The most bytes that one system call reads.
const READ_AT_ONCE: usize = 16 * 1024;

thread_local! {
    static SHARED: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_AT_ONCE].into());
}

pub(super) struct Wire {
    reader: Box<dyn AsyncRead + Send + Unpin>,
    /// What was read and not yet taken; in a box, since there seldom is any.
    rest: Option<Box<Bytes>>,
    writer: ProtocolWriter,
    has_heard: bool,
}

impl Wire {
    pub(super) fn new(
        reader: Box<dyn AsyncRead + Send + Unpin>,
        early: Bytes,
        writer: ProtocolWriter,
    ) -> Self {
        Self { reader, rest: boxed(early), writer, has_heard: false }
    }

    /// Only what comes from now on is read.
    pub(super) fn into_reader(self) -> Box<dyn AsyncRead + Send + Unpin> {
        self.reader
    }

    /// Lets the close frame into the queue, however full it is.
    pub(super) fn make_room(&mut self) {
        self.writer.make_room();
    }

    /// Whether anything has come since this was last asked.
    pub(super) fn has_heard(&mut self) -> bool {
        std::mem::take(&mut self.has_heard)
    }

    /// The wire on behalf of a task, which is woken when what would block no longer does.
    pub(super) fn polled<'a, 'w>(&'a mut self, cx: &'a mut Context<'w>) -> Polled<'a, 'w> {
        Polled { wire: self, cx }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, wanted: &mut [u8]) -> Poll<io::Result<usize>> {
        let Some(rest) = &mut self.rest else {
            let reader = Pin::new(&mut self.reader);
            return SHARED.with_borrow_mut(|shared| {
                let mut buffer = ReadBuf::new(shared);
                ready!(reader.poll_read(cx, &mut buffer))?;
                self.has_heard = true;
                let (taken, rest) = buffer.filled().split_at(wanted.len().min(buffer.filled().len()));
                wanted[..taken.len()].copy_from_slice(taken);
                self.rest = boxed(Bytes::copy_from_slice(rest));
                Poll::Ready(Ok(taken.len()))
            });
        };
        let taken = wanted.len().min(rest.len());
        rest.copy_to_slice(&mut wanted[..taken]);
        if rest.is_empty() {
            self.rest = None;
        }
        Poll::Ready(Ok(taken))
    }
}

/// An empty slice is none, since it would keep the buffer alive from which the request was read.
fn boxed(rest: Bytes) -> Option<Box<Bytes>> {
    (!rest.is_empty()).then(|| Box::new(rest))
}

/// A [`Wire`] as tungstenite takes it.
pub(super) struct Polled<'a, 'w> {
    wire: &'a mut Wire,
    cx: &'a mut Context<'w>,
}

impl Read for Polled<'_, '_> {
    fn read(&mut self, wanted: &mut [u8]) -> io::Result<usize> {
        or_block(self.wire.poll_read(self.cx, wanted))
    }
}

impl Write for Polled<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        or_block(Pin::new(&mut self.wire.writer).poll_write(self.cx, bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        or_block(Pin::new(&mut self.wire.writer).poll_flush(self.cx))
    }
}

fn or_block<T>(polled: Poll<io::Result<T>>) -> io::Result<T> {
    match polled {
        Poll::Ready(done) => done,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

#[cfg(test)]
mod tests {
    use consumers::Outbound;

    use super::*;

    #[test]
    fn what_is_not_taken_at_once_is_kept_in_order() {
        let sent: Vec<u8> = (0..=250).cycle().take(3 * READ_AT_ONCE).collect();
        let early = Bytes::from_static(b"early");
        let mut wire =
            Wire::new(Box::new(io::Cursor::new(sent.clone())), early, Outbound::new().protocol_writer());
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let (mut read, mut wanted) = (Vec::new(), vec![0; 1000]);
        loop {
            let count = wire.polled(&mut cx).read(&mut wanted).unwrap();
            if count == 0 {
                break;
            }
            read.extend_from_slice(&wanted[..count]);
        }
        assert_eq!(read, [b"early", &sent[..]].concat());
        assert!(wire.rest.is_none());
    }
}
