//! What a row says, whoever writes it.

use crate::capture::outbox::{Cursor, Kind, Outbox};
use crate::capture::postgres::testing::{World, drain, drain_brief, end, run};

/// Columns with their types, a value as a statement writes it, and the text that is told.
const COLUMNS: [(&str, &str, &str, Option<&str>); 23] = [
    ("id", "bigint PRIMARY KEY", "9223372036854775807", Some("9223372036854775807")),
    ("dec", "numeric", "12345678901234567890.123400", Some("12345678901234567890.123400")),
    ("dec_nan", "numeric", "'NaN'", Some("NaN")),
    ("real", "float8", "0.1", Some("0.1")),
    ("tiny", "float8", "'5e-324'", Some("5e-324")),
    ("inf", "float8", "'-Infinity'", Some("-Infinity")),
    ("nan", "float4", "'NaN'", Some("NaN")),
    ("yes", "boolean", "true", Some("true")),
    ("none", "text", "NULL", None),
    ("name", "text", "E'zo\u{eb} \"\\\\\\n'", Some("zoë \"\\\n")),
    ("raw", "bytea", r"'\x00ff'", Some(r"\x00ff")),
    ("at", "timestamptz", "'2026-11-21 06:49:56.582+02'", Some("2026-11-21T04:49:56.582+00:00")),
    ("day", "date", "'2026-11-21'", Some("2026-11-21")),
    ("span", "interval", "'1 day 2 hours'", Some("1 day 02:00:00")),
    ("during", "tstzrange", "'[2026-11-21 06:00+02,]'", Some("[\"2026-11-21 04:00:00+00\",)")),
    ("money", "money", "1234.5", Some("$1,234.50")),
    ("list", "numeric[]", "'{1.50,NULL}'", Some("[1.50,null]")),
    ("doc", "json", r#"'{"b" : 1e2, "b":2.0, "z":"\u0000"}'"#, Some(r#"{"b" : 1e2, "b":2.0, "z":"\u0000"}"#)),
    ("half", "json", r#"'"\ud800"'"#, Some(r#""\ud800""#)),
    ("docb", "jsonb", r#"'{"a": 1.50}'"#, Some(r#"{"a": 1.50}"#)),
    ("spot", "point", "'(1,2)'", Some("(1,2)")),
    (
        "select",
        "uuid",
        "'6F9619FF-8B86-D011-B42D-00C04FC964FF'",
        Some("6f9619ff-8b86-d011-b42d-00c04fc964ff"),
    ),
    ("my \"col\"", "text", "'x'", Some("x")),
];

#[tokio::test]
#[ignore = "needs PostgreSQL: run `cargo xtask test`"]
async fn values_are_exact_whatever_the_session_and_its_rights_are() {
    let world = World::new().await;
    let quote = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let definition: Vec<_> =
        COLUMNS.iter().map(|column| format!("{} {}", quote(column.0), column.1)).collect();
    let values: Vec<_> = COLUMNS.iter().map(|column| column.2).collect();
    // Nobody but who installs it has any right on the outbox, and a writer has none but to write this table.
    let role = format!("writer_{}", std::process::id());
    world
        .run(&format!(
            "CREATE TABLE t ({}); CREATE ROLE {role} LOGIN PASSWORD 'x'; GRANT INSERT, SELECT, UPDATE ON t TO {role};
             CREATE SCHEMA theirs AUTHORIZATION {role}",
            definition.join(", ")
        ))
        .await;
    let mut outbox = world.open("t", Cursor::Own).await;
    let pool = world.pool_of(&role).await;
    let mut session = pool.acquire().await.unwrap();
    let settings = "SET TimeZone = 'Asia/Tokyo'; SET bytea_output = 'escape'; SET DateStyle = 'German';
                    SET IntervalStyle = 'iso_8601'; SET extra_float_digits = -15; SET search_path = theirs;
                    SET standard_conforming_strings = on;
                    CREATE FUNCTION theirs.left(text, int) RETURNS text LANGUAGE sql AS $$ SELECT 'X' $$";
    run(&mut session, settings).await;
    run(&mut session, &format!("INSERT INTO public.t VALUES ({})", values.join(", "))).await;
    // What changes nothing is not told, whether its type knows equality or not.
    run(&mut session, "UPDATE public.t SET id = id, spot = '(1,2)', name = name").await;
    run(&mut session, "UPDATE public.t SET spot = '(1,3)'").await;
    let refused = sqlx::query("SELECT FROM public.waterway_outbox").execute(&mut *session).await.unwrap_err();
    assert!(refused.to_string().contains("permission denied"), "{refused}");
    let stolen = "CREATE TABLE theirs.x (); CREATE TRIGGER x AFTER INSERT ON theirs.x
                  EXECUTE FUNCTION public.waterway_capture()";
    let stolen = sqlx::raw_sql(stolen).execute(&mut *session).await.unwrap_err();
    assert!(stolen.to_string().contains("permission denied for function"), "{stolen}");
    drop(session);
    pool.close().await;
    let changes = drain(&mut outbox).await;
    assert_eq!(changes.len(), 2, "{changes:?}");
    let Kind::Insert(row) = &changes[0].kind else { panic!("{changes:?}") };
    for (name, _, _, expected) in COLUMNS {
        assert_eq!(row.get(name), expected, "{name}");
    }
    assert_eq!(row.iter().count(), COLUMNS.len());
    let Kind::Update { old, new } = &changes[1].kind else { panic!("{changes:?}") };
    assert_eq!((old.get("spot"), new.get("spot")), (Some("(1,2)"), Some("(1,3)")));
    world.run(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run `cargo xtask test`"]
async fn every_way_to_write_is_seen() {
    let world = World::with_table().await;
    let mut outbox = world.own().await;
    world.run("INSERT INTO t VALUES (1, 1), (2, 1) ON CONFLICT DO NOTHING").await;
    world.run("INSERT INTO t VALUES (1, 5) ON CONFLICT (id) DO UPDATE SET n = excluded.n").await;
    world.run("INSERT INTO t VALUES (1, 5) ON CONFLICT (id) DO UPDATE SET n = excluded.n").await;
    world.run("WITH gone AS (DELETE FROM t WHERE id = 2) INSERT INTO t VALUES (3, 1)").await;
    assert_eq!(drain_brief(&mut outbox).await, "+1 +2 ~1 +3 -2");
    let mut session = world.session().await;
    let mut copy = session.copy_in_raw("COPY t FROM STDIN").await.unwrap();
    copy.send(&b"4\t1\n5\t2\n"[..]).await.unwrap();
    copy.finish().await.unwrap();
    // Who applies what another server sent fires no usual triggers.
    run(&mut session, "SET session_replication_role = replica; UPDATE t SET id = 6 WHERE id = 5").await;
    run(&mut session, "RESET session_replication_role; ALTER TABLE t ADD extra numeric(5, 2) DEFAULT 1.5")
        .await;
    run(&mut session, "INSERT INTO t VALUES (7, 1, 2.5)").await;
    let changes = drain(&mut outbox).await;
    let Kind::Insert(row) = &changes[3].kind else { panic!("{changes:?}") };
    assert_eq!(row.get("extra"), Some("2.50"));
    run(&mut session, "TRUNCATE t; INSERT INTO t VALUES (8, 1)").await;
    assert_eq!(drain_brief(&mut outbox).await, "! +8");
    end(session).await;
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run `cargo xtask test`"]
async fn a_table_is_found_by_whatever_name_it_has() {
    let world = World::new().await;
    world.run(r#"CREATE SCHEMA "my ""shop""""#).await;
    let names = [
        ("select", r#""select""#),
        (r#"a "b"; --"#, r#""a ""b""; --""#),
        ("größe x'y$1\\", "\"größe x'y$1\\\""),
        (r#"my "shop".Orders.x"#, r#""my ""shop"""."Orders.x""#),
        (r#""Quoted Name""#, r#""Quoted Name""#),
    ];
    for (name, sql) in names {
        world.run(&format!("CREATE TABLE {sql} (id int PRIMARY KEY)")).await;
        let mut outbox = world.open(name, Cursor::Own).await;
        world.run(&format!("INSERT INTO {sql} VALUES (1)")).await;
        let changes = drain(&mut outbox).await;
        assert_eq!(changes.len(), 1, "{name}");
        assert_eq!(changes[0].table, name);
        assert!(outbox.mend().await.unwrap().is_empty());
    }
}
