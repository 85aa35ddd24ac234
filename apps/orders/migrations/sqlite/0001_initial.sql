-- Decimals are text: SQLite's NUMERIC is a float. The collation `decimal` sorts them by value.
-- Times are text in UTC, as Django writes them: 2026-11-21 10:04:05.123456.
CREATE TABLE orders_order (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    owner_id BIGINT NOT NULL REFERENCES accounts_user (id) ON DELETE CASCADE,
    instrument VARCHAR(32) NOT NULL,
    quantity TEXT NOT NULL,
    price TEXT NOT NULL,
    created TEXT NOT NULL,
    updated TEXT NOT NULL
);

CREATE INDEX orders_order_owner ON orders_order (owner_id, id);

-- One row: how many writes there have been. A reader's snapshot of it says which events it has seen.
CREATE TABLE orders_revision (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    revision BIGINT NOT NULL
);

INSERT INTO orders_revision (id, revision) VALUES (1, 0);
