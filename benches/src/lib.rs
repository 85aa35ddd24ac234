//! What the programs of this crate share: the WebSocket frames that `load` sends and reads, that `raw` writes, and the
//! answer to a handshake. The programs themselves, and what each is for, are told in this folder's `README.md`.

mod frame;
mod handshake;

pub use frame::{BINARY, CLOSE, Frame, PING, PONG, TEXT, encode, encode_masked, parse};
pub use handshake::{answer, head, request};
