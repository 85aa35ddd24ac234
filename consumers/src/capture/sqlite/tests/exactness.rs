//! Every value is told exactly, and none makes a writer fail.

use proptest::prelude::*;

use super::*;

#[tokio::test]
async fn every_value_is_told_exactly() {
    let mut t = Captured::new("CREATE TABLE t(id INTEGER PRIMARY KEY, a)", "t").await;
    for (value, expected) in [
        ("NULL", "~"),
        ("9223372036854775807", "9223372036854775807"),
        ("-9223372036854775808", "-9223372036854775808"),
        ("0.1", "0.1"),
        ("19.99", "19.99"),
        ("1.0", "1.0"),
        ("1e20", "1.0e+20"),
        ("9e999", "Inf"),
        ("-9e999", "-Inf"),
        ("0.1 + 0.2", "0.30000000000000004"),
        ("9007199254740993.0", "9007199254740992.0"),
        ("x'00ff'", "00FF"),
        ("x''", ""),
        ("zeroblob(3)", "000000"),
        ("''", ""),
        ("'it''s \"zoë\" \\ \u{1F600}'", "it's \"zoë\" \\ \u{1F600}"),
        ("'a' || char(0, 10, 1, 31) || 'b'", "a\0\n\u{1}\u{1f}b"),
        ("CAST(x'61ff80c362' AS TEXT)", "a\u{fffd}\u{fffd}\u{fffd}b"),
        ("CAST(x'eda080' AS TEXT)", "\u{fffd}\u{fffd}\u{fffd}"),
        ("json('{\"a\": [1]}')", "{\"a\":[1]}"),
        ("json_array(1, 'x')", "[1,\"x\"]"),
        ("true", "1"),
    ] {
        assert_eq!(
            t.after(&format!("INSERT INTO t VALUES (1, {value})")).await,
            [format!("+1,{expected}")],
            "{value}"
        );
        assert_eq!(t.after("DELETE FROM t").await, [format!("-1,{expected}")], "{value}");
    }
}

#[tokio::test]
async fn decimals_that_sqlite_keeps_as_floats_are_told_as_they_were_written() {
    let mut t = Captured::new("CREATE TABLE t(id INTEGER PRIMARY KEY, a DECIMAL)", "t").await;
    let expected = ["+1,12.35", "+2,10", "+3,1234567.89"];
    assert_eq!(t.after("INSERT INTO t VALUES (1, '12.35'), (2, '10.00'), (3, '1234567.89')").await, expected);
}

#[test]
fn real_numbers_come_back_as_they_went() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let t = runtime.block_on(Captured::new("CREATE TABLE t(id INTEGER PRIMARY KEY, a REAL)", "t"));
    let t = std::cell::RefCell::new(t);
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) };
    // From about 1e-79 to 1e99: beyond, SQLite itself is not exact when it writes a number out.
    proptest!(config, |(sign: bool, exponent in 760_u64..1354, fraction in 0..1_u64 << 52)| {
        let number = f64::from_bits(u64::from(sign) << 63 | exponent << 52 | fraction);
        let mut t = t.borrow_mut();
        let told = runtime.block_on(async {
            let insert = sqlx::query("INSERT INTO t (a) VALUES (?)").bind(number);
            insert.execute(&mut t.connection).await.unwrap();
            t.changes().await
        });
        let [Recorded { kind: Kind::Insert(row), .. }] = &told[..] else { panic!("{told:?}") };
        prop_assert_eq!(row.get("a").unwrap().parse::<f64>().unwrap(), number);
    });
}

#[tokio::test]
async fn a_value_that_is_too_large_is_told_as_a_loss_and_fails_no_writer() {
    let mut t = Captured::new("CREATE TABLE t(id INTEGER PRIMARY KEY, a)", "t").await;
    assert_eq!(t.after("INSERT INTO t VALUES (1, zeroblob(1048577))").await, ["reset"]);
    assert_eq!(t.after("UPDATE t SET a = CAST(zeroblob(1048577) AS TEXT)").await, ["reset"]);
    assert_eq!(t.after("REPLACE INTO t VALUES (1, zeroblob(1048577))").await, ["reset"]);
    assert_eq!(t.after("UPDATE t SET a = 'small'").await, ["reset"]);
    let whole = t.after("UPDATE t SET a = zeroblob(1048576)").await;
    assert_eq!(whole[0].len(), "1,small>1,".len() + 2 * 1_048_576);
}

#[tokio::test]
async fn a_wide_table_is_told_whole() {
    let columns: Vec<String> = (0..260).map(|n| format!("c{n:04}")).collect();
    let ddl =
        format!("CREATE TABLE t(id INTEGER PRIMARY KEY, \"{{}}\" DEFAULT '}}{{', {})", columns.join(","));
    let mut t = Captured::new(&ddl, "t").await;
    t.run("INSERT INTO t (id, c0000, c0049, c0259) VALUES (7, '{', '}', 'last')").await;
    let changes = t.changes().await;
    let Kind::Insert(row) = &changes[0].kind else { panic!("{changes:?}") };
    assert_eq!(row.iter().count(), 262);
    assert_eq!(
        ["id", "{}", "c0000", "c0049", "c0259"].map(|c| row.get(c).unwrap()),
        ["7", "}{", "{", "}", "last"]
    );
}

#[tokio::test]
async fn names_of_every_kind_are_quoted() {
    for name in
        ["select", "two words", "it's \"quoted\"", "zoë", "a.b", "[x]", "d", "r", "--", "a_inserting_b"]
    {
        let quoted = name.replace('"', "\"\"");
        let ddl = format!(
            "CREATE TABLE \"{quoted}\"(id INTEGER PRIMARY KEY, \"{quoted}\" UNIQUE, \"group\" UNIQUE, tbl, pk, op, old, new);
            CREATE UNIQUE INDEX \"i{quoted}\" ON \"{quoted}\"(\"{quoted}\") WHERE \"{quoted}\" IS NOT NULL"
        );
        let mut t = Captured::new(&ddl, name).await;
        t.run(&format!("INSERT INTO \"{quoted}\" (id, \"{quoted}\") VALUES (1, 'x')")).await;
        t.run(&format!("REPLACE INTO \"{quoted}\" (id, \"{quoted}\") VALUES (2, 'x')")).await;
        t.run(&format!("UPDATE \"{quoted}\" SET \"group\" = 1, pk = 5")).await;
        let changes = t.changes().await;
        assert_eq!(changes.len(), 4, "{name}: {changes:?}");
        assert!(changes.iter().all(|change| change.table == name));
        let Kind::Update { new, .. } = &changes[3].kind else { panic!("{changes:?}") };
        assert_eq!((new.get(name), new.get("group"), new.get("pk")), (Some("x"), Some("1"), Some("5")));
    }
}

#[tokio::test]
async fn a_database_in_utf16_is_told_in_utf8() {
    let ddl = "PRAGMA encoding = 'UTF-16'; CREATE TABLE t(id INTEGER PRIMARY KEY, a)";
    let mut t = Captured::new(ddl, "t").await;
    assert_eq!(t.after("INSERT INTO t VALUES (1, 'zoë \u{1F600}')").await, ["+1,zoë \u{1F600}"]);
}

#[tokio::test]
async fn what_the_outbox_holds_besides_stops_nobody() {
    let mut t = Captured::new("CREATE TABLE t(id INTEGER PRIMARY KEY)", "t").await;
    t.run("INSERT INTO waterway_outbox (tbl, old, new) VALUES ('t', 'x', NULL), ('t', NULL, x'ff'), (x'ff', 1, 2.5)").await;
    assert_eq!(t.after("INSERT INTO t VALUES (1)").await, ["reset", "reset", "reset", "+1"]);
}
