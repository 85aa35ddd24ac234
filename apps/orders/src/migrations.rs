//! The steps that make this app's tables.

use accounts::{Migration, MigrationSet};

/// The table `orders_order`; after those of accounts, to which it refers.
pub const MIGRATIONS: MigrationSet = MigrationSet {
    app: "orders",
    migrations: &[
        Migration {
            name: "0001_initial",
            sqlite: include_str!("../migrations/sqlite/0001_initial.sql"),
            postgres: include_str!("../migrations/postgres/0001_initial.sql"),
        },
        // Writes were numbered by a table of its own before the capture of changes did so.
        Migration {
            name: "0002_no_revision",
            sqlite: "DROP TABLE orders_revision",
            postgres: "DROP TABLE orders_revision",
        },
    ],
};
