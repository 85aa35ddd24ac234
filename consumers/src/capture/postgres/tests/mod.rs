//! Tests with a server.

mod bounds;
mod installing;
mod mending;
mod reading;
mod turns;
mod values;
mod writers;
