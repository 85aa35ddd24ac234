//! The answer to a handshake, as a consumer gives it.

use std::future::{Ready, ready};

use http::HeaderValue;
use tokio::sync::oneshot::Sender;

use super::Context;
use crate::transport::{Acceptance, Handshake};
use crate::{Error, Result};

/// An accepting answer in the making: await it to give it.
#[must_use = "the handshake is accepted when this is awaited"]
#[derive(Debug)]
pub struct Accept<'a> {
    context: &'a mut Context,
    acceptance: Acceptance,
    fault: Option<Error>,
}

impl<'a> Accept<'a> {
    pub(super) fn new(context: &'a mut Context) -> Self {
        Self { context, acceptance: Acceptance::default(), fault: None }
    }

    /// Chooses one of the sub-protocols that the client offers.
    pub fn subprotocol(mut self, name: &str) -> Self {
        if self.context.scope.subprotocols().any(|offered| offered == name) {
            self.acceptance.subprotocol = HeaderValue::from_str(name).ok();
        } else {
            self.fault = Some(Error::defect(format!("the client does not offer the sub-protocol {name:?}")));
        }
        self
    }

    /// Adds a header to the answer.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let Err(fault) = self.acceptance.header(name, value) {
            self.fault = Some(fault.into());
        }
        self
    }

    fn answer(self) -> Result {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        if self.context.handshake.as_ref().is_some_and(Sender::is_closed) {
            // It is kept, so that the connection's task hears that nobody waits for the answer any more.
            return Err(Error::Gone);
        }
        let Some(handshake) = self.context.handshake.take() else {
            return Err(Error::defect("the handshake is answered already"));
        };
        handshake.send(Handshake::Accept(self.acceptance)).map_err(|_| Error::Gone)
    }
}

impl IntoFuture for Accept<'_> {
    type Output = Result;
    type IntoFuture = Ready<Result>;

    fn into_future(self) -> Self::IntoFuture {
        ready(self.answer())
    }
}
