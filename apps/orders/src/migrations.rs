//! The steps that make this app's tables.

use accounts::{Migration, MigrationSet};

/// The tables `orders_order` and `orders_revision`; after those of accounts, to which they refer.
pub const MIGRATIONS: MigrationSet = MigrationSet {
    app: "orders",
    migrations: &[Migration {
        name: "0001_initial",
        sqlite: include_str!("../migrations/sqlite/0001_initial.sql"),
        postgres: include_str!("../migrations/postgres/0001_initial.sql"),
    }],
};
