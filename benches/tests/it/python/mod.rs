//! Beside Python: a Django Channels site in one group with our server, and the bench that measures both.

mod django;
mod redis_peers;
