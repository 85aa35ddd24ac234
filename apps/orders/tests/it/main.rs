//! What the orders app does, seen by clients: over HTTP through its router, and over sockets that are plugged into its
//! consumer, together on one database and one channel layer.

#[cfg(test)]
mod access;
#[cfg(test)]
mod admin;
#[cfg(test)]
mod datatables;
#[cfg(test)]
mod demo;
#[cfg(test)]
mod foreign;
#[cfg(test)]
mod layer_failures;
#[cfg(test)]
mod lists;
#[cfg(test)]
mod order_of_events;
#[cfg(test)]
mod page;
#[cfg(test)]
mod realtime;
#[cfg(test)]
mod site;
#[cfg(test)]
mod slow_clients;
#[cfg(test)]
mod sums;
#[cfg(test)]
mod test_layer;
#[cfg(test)]
mod writes;
