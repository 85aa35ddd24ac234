//! Orders that Django and shells write, and what clients of the running program hear of them. It needs Python.

mod django;
mod shells;
mod watch;
mod writer;
