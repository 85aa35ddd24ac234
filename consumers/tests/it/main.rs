//! What consumers promise, told through their public interface only: clients that are plugged into applications, on
//! clocks that are paused.

#[cfg(test)]
#[cfg(feature = "database")]
mod binding;
#[cfg(test)]
mod communicator;
#[cfg(test)]
mod demultiplexer;
#[cfg(test)]
mod endings;
#[cfg(test)]
mod groups;
#[cfg(test)]
mod handlers;
#[cfg(test)]
mod input;
#[cfg(test)]
mod layer_failures;
#[cfg(test)]
mod lifecycle;
#[cfg(test)]
mod property;
#[cfg(test)]
mod relay;
#[cfg(test)]
mod shutdown;
#[cfg(test)]
mod slow_clients;
#[cfg(test)]
mod support;
#[cfg(test)]
mod traits;
