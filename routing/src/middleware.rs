//! Steps between a handshake and its consumer.

use async_trait::async_trait;
use consumers::{Result, Scope};

/// A step that sees a handshake before its consumer does: it may add to the scope, or refuse.
///
/// What concerns HTTP and WebSocket alike (sessions, users) is better a tower layer, such as
/// [`IdentityLayer`](crate::IdentityLayer), which reaches both.
#[async_trait]
pub trait Middleware: Send + Sync + 'static {
    /// Looks at the handshake; an error refuses it, a [`Denial`](consumers::Denial) with its own status and body.
    async fn handshake(&self, scope: &mut Scope) -> Result;
}
