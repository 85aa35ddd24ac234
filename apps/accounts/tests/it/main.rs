//! What the accounts of a site do, seen by a client.

mod basic;
mod csrf;
mod login;
mod session;
mod site;
mod users;
