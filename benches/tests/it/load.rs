//! The load generator drives our own server and the yardstick: everything that is sent comes, in order.

use std::process::Command;

use serde_json::Value;

use crate::server::Server;

/// Starts one of our programs with these arguments.
fn start(program: &str, arguments: &[&str]) -> Server {
    Server::start(|address| {
        let mut command = Command::new(program);
        command.args(["--port", &address.port().to_string()]).args(arguments);
        command
    })
}

/// Runs the generator on a server and returns its report.
async fn load(server: &Server, workload: &str, arguments: &[&str]) -> Value {
    drop(server.open_at("/echo").await);
    let mut command = Command::new(env!("CARGO_BIN_EXE_load"));
    command.args([workload, "--json", "--settle", "20", "--addr", &server.address().to_string()]);
    command.args(["--pids", &server.pid().to_string()]).args(arguments);
    let output = tokio::task::spawn_blocking(move || command.output()).await;
    let output = output.expect("nothing panics").expect("the generator is built");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("the report is one JSON object")
}

fn assert_all_came(report: &Value, due: u64) {
    assert_eq!(report["due"], due, "{report}");
    assert_eq!(report["delivered"], due, "{report}");
    // Order is watched where all messages have one sender and one group.
    let out_of_order = if report["workload"] == "fan-out" { 0.into() } else { Value::Null };
    assert_eq!((&report["closed"], &report["out_of_order"]), (&0.into(), &out_of_order), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_comes_from_our_server() {
    for workers in ["1", "2"] {
        let site = start(env!("CARGO_BIN_EXE_site"), &["--workers", workers]);
        let fan_out = load(&site, "fan-out", &["--subs", "20", "--msgs", "50", "--window", "16"]).await;
        assert_all_came(&fan_out, 1000);
        let large = ["--subs", "5", "--msgs", "10", "--payload", "70000", "--rate", "500"];
        assert_all_came(&load(&site, "fan-out", &large).await, 50);
        let groups = load(&site, "groups", &["--groups", "7", "--members", "3", "--msgs", "100"]).await;
        assert_all_came(&groups, 300);
        assert_all_came(&load(&site, "echo", &["--subs", "10", "--msgs", "20"]).await, 200);
        let change = ["--path", "/change", "--publish", r#"{"text":"%P%"}"#, "--subs", "8", "--msgs", "20"];
        assert_all_came(&load(&site, "fan-out", &change).await, 160);
        let idle = load(&site, "idle", &["--subs", "30"]).await;
        assert_eq!((&idle["connections"], &idle["closed"]), (&30.into(), &0.into()), "{idle}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_comes_from_the_yardsticks() {
    let raw = start(env!("CARGO_BIN_EXE_raw"), &[]);
    let burst = ["--subs", "20", "--msgs", "50", "--window", "16", "--payload", "70000"];
    assert_all_came(&load(&raw, "fan-out", &burst).await, 1000);
    assert_all_came(&load(&raw, "groups", &["--groups", "7", "--members", "3", "--msgs", "100"]).await, 300);
    let echo = start(env!("CARGO_BIN_EXE_bare"), &["--what", "echo"]);
    assert_all_came(&load(&echo, "echo", &["--subs", "10", "--msgs", "20"]).await, 200);
    let upgrade = start(env!("CARGO_BIN_EXE_bare"), &["--what", "upgrade"]);
    assert_eq!(load(&upgrade, "idle", &["--subs", "30"]).await["closed"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reconnects_or_sleeps_loses_nothing_untold() {
    let site = start(env!("CARGO_BIN_EXE_site"), &[]);
    for workload in ["churn", "slow", "soak"] {
        let arguments =
            ["--subs", "20", "--rate", "100", "--seconds", "2", "--slow-for", "1", "--sample", "1"];
        let report = load(&site, workload, &arguments).await;
        assert_eq!(report["untold"], 0, "{report}");
        assert_eq!(report["out_of_order"], 0, "{report}");
        assert!(report["delivered"].as_u64() > Some(1000), "{report}");
    }
}
