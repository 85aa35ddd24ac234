//! The bench of our Redis layers beside `channels_redis`, as a program, for a moment only.

use std::process::Command;

#[test]
#[ignore = "needs channels_redis: run cargo xtask test"]
fn the_bench_fills_its_table_and_loses_nothing() {
    let mut bench = Command::new(env!("CARGO_BIN_EXE_redis-peers"));
    let done = bench.args(["--seconds", "0.1"]).output().expect("the bench was built with the test");
    let table = String::from_utf8(done.stdout).expect("a table is text");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));

    let mut delivered = 0;
    for row in table.lines().filter(|line| line.starts_with("| ")).skip(1) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').skip(1).collect();
        assert_eq!(cells.len(), 4, "both layers with 1 and 100 members: {row}");
        for cell in cells {
            let (ours, theirs) = figures(cell);
            assert!(ours >= 0.0 && theirs >= 0.0, "{row}");
            if row.contains("delivered") {
                delivered += 1;
                assert_eq!(ours, 100.0, "{row}");
            }
        }
    }
    assert_eq!(delivered, 8, "one by one and from many tasks: {table}");
}

/// The two figures of `ours / theirs = ratio`.
fn figures(cell: &str) -> (f64, f64) {
    let (ours, rest) = cell.split_once('/').expect("a cell has both sides");
    let (theirs, _) = rest.split_once('=').expect("a cell has a ratio");
    (ours.trim().parse().unwrap(), theirs.trim().parse().unwrap())
}
