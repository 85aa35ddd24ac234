//! The commands that do one thing and end.

use crate::http::Request;
use crate::program::{Folder, Run};
use crate::server::Server;

#[test]
fn migrate_tells_what_it_did() {
    let folder = Folder::new();
    let first = folder.run(&["migrate"]);
    assert_eq!(first.code, Some(0), "{first:?}");
    let steps = ["accounts.0001_initial", "orders.0001_initial", "orders.0002_no_revision"];
    assert_eq!(first.stdout, steps.map(|step| format!("applied {step}\n")).concat());
    let second = folder.run(&["migrate"]);
    assert_eq!((second.code, second.stdout.as_str()), (Some(0), "nothing to do\n"));
}

#[test]
fn the_demo_is_loaded_once() {
    let folder = Folder::new();
    let first = folder.run(&["loaddemo"]);
    assert_eq!(first.code, Some(0), "{first:?}");
    assert_eq!(first.stdout, "loaded 2000 orders; log in as admin/admin or demo/demo\n");
    let second = folder.run(&["loaddemo"]);
    assert_eq!(second.code, Some(0), "{second:?}");
    assert_eq!(second.stdout, "there are orders already: nothing was loaded\n");
    let server = Server::with_demo(&folder);
    let list = Request::new("GET", "/api/data/").basic("admin", "admin").send(&server.host);
    assert_eq!(list.json()["count"], 2000);
}

#[test]
fn a_superuser_is_made_without_questions() {
    let folder = Folder::new();
    let create = |username: &str, email: &str, password: Option<&str>| {
        let mut command = folder.command(&["createsuperuser", "--noinput"]);
        command.args(["--username", username, "--email", email]);
        Run::of(command.envs(password.map(|password| ("WATERWAY_SUPERUSER_PASSWORD", password))))
    };
    let made = create("ana", "ana@shop.example", Some("correct horse"));
    assert_eq!((made.code, made.stdout.as_str()), (Some(0), "The user ana was made.\n"), "{made:?}");
    assert!(!made.stderr.contains("correct horse"));

    create("ana", "", Some("another")).assert_failed("username \"ana\" is taken: choose another");
    create("ben", "", None).assert_failed("WATERWAY_SUPERUSER_PASSWORD");
    create("ben", "", Some("")).assert_failed("the password is empty: choose one");
    create("ben", "", Some(&"x".repeat(1025))).assert_failed("the password is too long");
    create("b n", "", Some("pw")).assert_failed("username \"b n\" is not valid");
    create("ben", "nowhere", Some("pw")).assert_failed("e-mail address \"nowhere\" is not valid");
    let mut nameless = folder.command(&["createsuperuser", "--noinput"]);
    Run::of(nameless.env("WATERWAY_SUPERUSER_PASSWORD", "pw")).assert_failed("give --username");

    let server = Server::with_demo(&folder);
    let who = |username: &str, password: &str| {
        Request::new("GET", "/accounts/whoami/").basic(username, password).send(&server.host)
    };
    assert_eq!(who("ana", "correct horse").json()["is_staff"], true);
    assert_eq!(who("ana", "another").status, 401, "the first password stays");
    assert_eq!(who("ben", "pw").status, 401);
}

#[test]
fn help_tells_of_every_command_and_of_no_password() {
    let folder = Folder::new();
    let help = folder.run(&["--help"]);
    assert_eq!(help.code, Some(0));
    for command in ["runserver", "migrate", "createsuperuser", "loaddemo"] {
        assert!(help.stdout.contains(command), "{}", help.stdout);
    }
    for kind in ["sqlite:PATH", "postgres://USER:PASSWORD@HOST/DATABASE"] {
        assert!(help.stdout.contains(kind), "{}", help.stdout);
    }
    let mut command = folder.command(&["--help"]);
    let help = Run::of(command.env("WATERWAY_DATABASE", "postgres://ana:s3cret@db/shop"));
    assert!(!help.stdout.contains("s3cret"), "{}", help.stdout);
    let mut command = folder.command(&["createsuperuser", "--help"]);
    let help = Run::of(command.env("WATERWAY_SUPERUSER_PASSWORD", "s3cret"));
    assert!(help.stdout.contains("--noinput") && !help.stdout.contains("s3cret"), "{}", help.stdout);
}
