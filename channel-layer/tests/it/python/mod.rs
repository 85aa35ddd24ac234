//! The Redis layers and Python's real `channels_redis`, on the same servers, each hearing the other.
//!
//! [`pair`] starts the two, [`peer`] talks to Python; [`values`] and [`groups`] hold what both kinds of layer must do,
//! [`core`] and [`pub_sub`] say of which, and add what only one of them does.

mod core;
mod core_queues;
mod groups;
mod pair;
mod peer;
mod pub_sub;
mod values;

/// Tests of one kind of layer that the other has as well.
macro_rules! with_python {
    ($($name:ident: $test:expr;)*) => {$(
        #[tokio::test]
        #[ignore = "needs Python's channels_redis: run cargo xtask test"]
        async fn $name() {
            $test.await;
        }
    )*};
}
use with_python;
