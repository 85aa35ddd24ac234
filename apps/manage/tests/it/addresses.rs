//! Where it listens, and which database and layer it uses; and that the demo's passwords work from outside never.

use accounts::{Accounts, Db, Settings};

use crate::http::Request;
use crate::program::{Folder, Run};
use crate::server::Server;

/// Gives users other passwords, as an operator would.
fn set_passwords(folder: &Folder, usernames: &[&str]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let accounts =
            Accounts::new(Db::open(&folder.database()).await.unwrap(), Settings::default()).unwrap();
        for username in usernames {
            accounts.set_password(username, "a better one").await.unwrap();
        }
    });
}

#[test]
fn the_demo_is_never_reachable_from_outside() {
    let folder = Folder::new();
    assert_eq!(folder.run(&["loaddemo"]).code, Some(0));
    for address in ["0.0.0.0:0", "[::]:0"] {
        folder
            .run(&["runserver", address])
            .assert_failed("the user \"admin\" still has the password of the demo");
    }
    set_passwords(&folder, &["admin"]);
    folder.run(&["0.0.0.0:0"]).assert_failed("the user \"demo\" still has the password of the demo");
    drop(Server::with_demo(&folder));

    set_passwords(&folder, &["demo"]);
    let server = Server::start(&folder, &["0.0.0.0:0"]);
    assert!(server.welcome.starts_with("Waterway is at http://0.0.0.0:"), "{}", server.welcome);
    assert!(!server.welcome.contains("demo/demo"), "{}", server.welcome);
    assert_eq!(server.get("/readyz").status, 200);
    let old = Request::new("GET", "/api/data/").basic("demo", "demo").send(&server.host);
    let new = Request::new("GET", "/api/data/").basic("demo", "a better one").send(&server.host);
    assert_eq!((old.status, new.status), (401, 200));
}

#[test]
fn an_empty_database_gets_no_demo_on_other_addresses() {
    let folder = Folder::new();
    let server = Server::start(&folder, &["0.0.0.0:0"]);
    assert!(server.welcome.contains("createsuperuser"), "{}", server.welcome);
    assert_eq!(server.get("/readyz").status, 200);
    for (username, password) in [("admin", "admin"), ("demo", "demo")] {
        let answer = Request::new("GET", "/api/data/").basic(username, password).send(&server.host);
        assert_eq!(answer.status, 401);
    }
}

#[test]
fn a_superuser_of_ones_own_is_welcome_anywhere() {
    let folder = Folder::new();
    folder.create_superuser("admin", "not admin");
    let server = Server::start(&folder, &["0.0.0.0:0"]);
    let answer = Request::new("GET", "/accounts/whoami/").basic("admin", "not admin").send(&server.host);
    assert_eq!(answer.json()["is_staff"], true);
}

#[test]
fn what_is_not_known_is_refused_in_words() {
    let folder = Folder::new();
    let layer = folder.run(&["runserver", "127.0.0.1:0", "--layer", "carrier-pigeon://coop"]);
    layer.assert_failed("channel layer \"carrier-pigeon");
    layer.assert_failed("is not known: use memory://");
    assert!(!folder.path("waterway.db").exists(), "it looks before it touches anything");
    for command in ["runserver", "migrate", "loaddemo"] {
        let database = folder.run(&[command, "--database", "oracle:x"]);
        database.assert_failed("database address \"oracle:x\" is not known: use sqlite:PATH");
        let missing = folder.run(&[command, "--database", "sqlite:no/such/folder/x.db"]);
        missing.assert_failed("check that its folder exists and may be written to");
        let secret = folder.run(&[command, "--database", "postgres://ana:s3cret@nowhere.invalid/db"]);
        secret.assert_failed("database \"postgres://ana@nowhere.invalid:5432/db\" cannot be reached");
        assert!(!secret.stderr.contains("s3cret"), "{secret:?}");
    }
    let taken = Server::with_demo(&folder);
    folder.run(&["runserver", &taken.host]).assert_failed(&format!("cannot listen on {}", taken.host));
    for arguments in [["runserver", "nonsense"], ["runserver", "127.0.0.1"], ["walkserver", "127.0.0.1:0"]] {
        let run = folder.run(&arguments);
        assert_eq!(run.code, Some(2), "{run:?}");
        assert!(run.stderr.contains("error: ") && run.stderr.contains("--help"), "{run:?}");
    }
}

#[test]
fn a_file_that_is_no_database_is_left_alone() {
    let folder = Folder::new();
    let text = "These are not the bytes of a database. ".repeat(100);
    std::fs::write(folder.path("letter.txt"), &text).unwrap();
    let run = folder.run(&["migrate", "--database", "sqlite:letter.txt"]);
    run.assert_failed("not a database");
    assert_eq!(std::fs::read_to_string(folder.path("letter.txt")).unwrap(), text);
}

#[test]
fn the_environment_says_where_the_database_and_the_layer_are() {
    let folder = Folder::new();
    let database = ("WATERWAY_DATABASE", "sqlite:other.db");
    let layer = ("WATERWAY_LAYER", "memory://");
    // Each command takes what concerns it and passes over the rest.
    for (arguments, said) in [
        (vec!["migrate"], "applied orders.0001_initial"),
        (vec!["loaddemo"], "loaded 2000 orders"),
        (vec!["migrate"], "nothing to do"),
    ] {
        let run = Run::of(folder.command(&arguments).envs([database, layer]));
        assert_eq!(run.code, Some(0), "{run:?}");
        assert!(run.stdout.contains(said), "{run:?}");
    }
    let mut create = folder.command(&["createsuperuser", "--noinput", "--username", "ana"]);
    create.envs([database, layer]).env("WATERWAY_SUPERUSER_PASSWORD", "correct horse");
    assert_eq!(Run::of(&mut create).code, Some(0));

    for arguments in [&["runserver", "127.0.0.1:0"][..], &["127.0.0.1:0"]] {
        let mut command = folder.command(arguments);
        command.envs([database, layer]);
        let server = Server::of(&folder, command);
        let list = Request::new("GET", "/api/data/").basic("ana", "correct horse").send(&server.host);
        assert_eq!(list.json()["count"], 2000);
        drop(server);
        let mut unknown = folder.command(arguments);
        unknown.envs([database, ("WATERWAY_LAYER", "pigeon://")]);
        Run::of(&mut unknown).assert_failed("channel layer \"pigeon");
    }
    assert!(!folder.path("waterway.db").exists());
    let mut argument = folder.command(&["migrate", "--database", "sqlite:third.db"]);
    let run = Run::of(argument.envs([database, layer]));
    assert!(run.stdout.contains("applied"), "an argument comes before the environment: {run:?}");
}
