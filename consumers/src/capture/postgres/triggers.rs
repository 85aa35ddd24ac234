//! The tables of the outbox, the function that fills it, and the triggers that call it, as SQL.
//!
//! The function runs with the rights of who installed it, so that whoever may write a bound table needs no right on
//! the outbox; with settings of its own, so that a row is written the same way in every session; and with a search path
//! in which nobody can put anything. A row is text that JSON's rules have made of it: a number as the database shows
//! it, which no float has touched, and times in UTC.

use super::super::outbox::OUTBOX_LIMIT;
use super::bell::CHANNEL;
use crate::db::quoted;

/// The version of the function. Of two programs that share a database, the one that knows the later one prevails.
pub(super) const VERSION: i32 = 1;

/// The tables of the capture itself.
pub(super) const OWN_TABLES: [&str; 3] = ["waterway_outbox", "waterway_cursor", "waterway_outbox_epoch"];

/// The triggers of a table. They are called in the order of their names, and `!` sorts before what others are called:
/// when a trigger changes a row again, its first change is then written down first.
pub(super) const ROW_TRIGGER: &str = "!waterway";
pub(super) const TRUNCATE_TRIGGER: &str = "!waterway_truncate";

/// Makes what is missing, in a schema that is the first of the search path.
///
/// The epoch belongs to one outbox: one that was made anew, or restored from a backup, gets another, and with it keys
/// that were never used. A restored outbox speaks of another server's transactions, so it begins empty.
pub(super) const TABLES: &str = "
CREATE TABLE IF NOT EXISTS waterway_outbox (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    at timestamptz NOT NULL DEFAULT now(),
    table_schema text,
    table_name text,
    op text NOT NULL,
    old_row json,
    new_row json
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);
CREATE INDEX IF NOT EXISTS waterway_outbox_xid ON waterway_outbox (xid);
CREATE INDEX IF NOT EXISTS waterway_outbox_marker ON waterway_outbox (seq) WHERE op = 'R';
CREATE TABLE IF NOT EXISTS waterway_cursor (
    name text PRIMARY KEY,
    is_shared boolean NOT NULL,
    position pg_snapshot NOT NULL,
    renewed timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);
ALTER TABLE waterway_cursor ADD COLUMN IF NOT EXISTS page pg_snapshot, ADD COLUMN IF NOT EXISTS page_last bigint;
CREATE TABLE IF NOT EXISTS waterway_outbox_epoch (id text NOT NULL, outbox oid NOT NULL);
DELETE FROM waterway_outbox WHERE EXISTS (
    SELECT FROM waterway_outbox_epoch WHERE outbox <> 'waterway_outbox'::regclass);
DELETE FROM waterway_cursor WHERE NOT EXISTS (
    SELECT FROM waterway_outbox_epoch WHERE outbox = 'waterway_outbox'::regclass);
DELETE FROM waterway_outbox_epoch WHERE outbox <> 'waterway_outbox'::regclass;
INSERT INTO waterway_outbox_epoch
SELECT gen_random_uuid(), 'waterway_outbox'::regclass WHERE NOT EXISTS (SELECT FROM waterway_outbox_epoch)";

/// What the function does.
const BODY: &str = r#"
DECLARE
    before_row json;
    after_row json;
    number bigint;
    is_lost boolean;
BEGIN
    -- waterway capture, version {version}
    IF TG_OP = 'INSERT' THEN
        after_row := row_to_json(NEW);
    ELSIF TG_OP = 'UPDATE' THEN
        before_row := row_to_json(OLD);
        after_row := row_to_json(NEW);
        -- Types such as json and point know no equality; their texts do.
        IF before_row::text COLLATE pg_catalog."C" = after_row::text THEN
            RETURN NULL;
        END IF;
    ELSIF TG_OP = 'DELETE' THEN
        before_row := row_to_json(OLD);
    END IF;
    INSERT INTO {schema}.waterway_outbox (table_schema, table_name, op, old_row, new_row)
    VALUES (TG_TABLE_SCHEMA, TG_TABLE_NAME, left(TG_OP, 1), before_row, after_row)
    RETURNING seq INTO number;
    -- A transaction that has notified cannot be prepared. Where some may be, readers look by themselves.
    IF current_setting('max_prepared_transactions') = '0' THEN
        PERFORM pg_notify('{channel}', '');
    END IF;
    -- Without a reader somebody else has to see to it that the outbox does not fill the disk.
    IF number % 1024 = 0 THEN
        BEGIN
            WITH gone AS (
                DELETE FROM {schema}.waterway_outbox WHERE ctid = ANY (ARRAY(
                    SELECT ctid FROM {schema}.waterway_outbox WHERE seq <= number - {limit}
                    ORDER BY seq LIMIT 2048 FOR UPDATE SKIP LOCKED))
                RETURNING xid)
            SELECT EXISTS (SELECT FROM gone, {schema}.waterway_cursor AS c
                           WHERE NOT pg_visible_in_snapshot(gone.xid, c.position)) INTO is_lost;
            IF is_lost THEN
                INSERT INTO {schema}.waterway_outbox (op) VALUES ('R');
            END IF;
        EXCEPTION WHEN OTHERS THEN
            -- Such as a serialization failure, in a writer's transaction. Another will see to it.
            NULL;
        END;
    END IF;
    RETURN NULL;
END
"#;

/// The function's text for an outbox in this schema.
pub(super) fn body(schema: &str) -> String {
    BODY.replace("{version}", &VERSION.to_string())
        .replace("{channel}", CHANNEL)
        .replace("{limit}", &OUTBOX_LIMIT.to_string())
        .replace("{schema}", &quoted(schema))
}

/// Makes the function. Nobody else can make a trigger of it, who could then fill the outbox.
pub(super) fn function(schema: &str) -> String {
    let (name, body) = (quoted(schema), literal(&body(schema)));
    format!(
        "CREATE OR REPLACE FUNCTION {name}.waterway_capture() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
         SET search_path = pg_catalog, pg_temp SET \"TimeZone\" = 'UTC' SET \"DateStyle\" = 'ISO, MDY'
         SET \"IntervalStyle\" = 'postgres' SET bytea_output = 'hex' SET extra_float_digits = 1
         SET lc_monetary = 'C'
         AS {body};
         REVOKE ALL ON FUNCTION {name}.waterway_capture() FROM PUBLIC"
    )
}

/// A text as a statement takes it.
fn literal(text: &str) -> String {
    let text = text.replace('\'', "''").replace('\\', "\\\\");
    format!("E'{text}'")
}

/// Makes both triggers of a table, which fire whatever a session is for: also when it applies what another server sent.
pub(super) fn triggers(table: &str, schema: &str) -> String {
    let (row, truncate, schema) = (quoted(ROW_TRIGGER), quoted(TRUNCATE_TRIGGER), quoted(schema));
    format!(
        "DROP TRIGGER IF EXISTS {row} ON {table};
         CREATE TRIGGER {row} AFTER INSERT OR UPDATE OR DELETE ON {table}
         FOR EACH ROW EXECUTE FUNCTION {schema}.waterway_capture();
         DROP TRIGGER IF EXISTS {truncate} ON {table};
         CREATE TRIGGER {truncate} AFTER TRUNCATE ON {table}
         FOR EACH STATEMENT EXECUTE FUNCTION {schema}.waterway_capture();
         {}",
        always(table)
    )
}

/// Turns both on, which exist.
pub(super) fn always(table: &str) -> String {
    let (row, truncate) = (quoted(ROW_TRIGGER), quoted(TRUNCATE_TRIGGER));
    format!("ALTER TABLE {table} ENABLE ALWAYS TRIGGER {row}, ENABLE ALWAYS TRIGGER {truncate}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_quoted() {
        assert_eq!(literal(r"it's a \ "), r"E'it''s a \\ '");
        let body = body("my \"schema\"");
        assert!(body.contains(r#"INTO "my ""schema""".waterway_outbox"#), "{body}");
        assert!(!body.contains('{'), "{body}");
    }
}
