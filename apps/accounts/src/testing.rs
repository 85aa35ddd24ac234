//! For tests of apps: a database of their own.

pub use routing::consumers::db::testing::TestDatabase;
