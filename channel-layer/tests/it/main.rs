//! What the layer promises: the contract clause by clause, the proof that the clauses can fail, and a naive model.

#[cfg(test)]
mod broken;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod in_memory;
#[cfg(test)]
mod model;
#[cfg(test)]
mod python;
mod redis;
mod redis_server;
#[cfg(test)]
mod traits;
#[cfg(test)]
mod ways;
