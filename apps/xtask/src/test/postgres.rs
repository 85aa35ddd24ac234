//! The tests that have a database, on a PostgreSQL server of their own: made anew, on a free port of this machine, and
//! gone afterwards.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::shell::{self, Failure};
use super::{cargo, server, tools};

/// How long the server may take to answer.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// How often a starting server is asked.
const ASK_EVERY: Duration = Duration::from_millis(20);

/// The user of the server, and a password that only has to be one.
const USER: &str = "waterway";
const PASSWORD: &str = "only-for-tests";

/// What it says when it takes commands.
const READY: &str = "database system is ready to accept connections";

/// In its folder: the data, and what it says.
const DATA: &str = "data";
const LOG: &str = "log";

/// Starts the server and stops it when the pipe from us closes, which it does even when we are killed.
const KEEPER: &str = r#""$@" & pid=$!; cat >/dev/null; kill -QUIT $pid; wait $pid"#;

/// Runs the tests on a fresh server.
pub(super) fn tests(root: &Path) -> Result<(), Failure> {
    let server = Postgres::start()?;
    let outcome = cargo::tests_on(root, &server.url());
    if outcome.is_err() {
        server.show_log();
    }
    outcome
}

/// A running server; dropping it stops it and deletes its data.
pub(super) struct Postgres {
    keeper: Child,
    address: SocketAddr,
    folder: tempfile::TempDir,
}

impl Postgres {
    pub(super) fn start() -> Result<Self, Failure> {
        let folder = shell::temporary_folder()?;
        let user = User::other_than_root()?;
        give(folder.path(), user.as_ref())?;
        make_cluster(folder.path(), user.as_ref())?;
        let address = server::free_address()?;
        let keeper = start_keeper(folder.path(), user.as_ref(), address)?;
        let mut server = Self { keeper, address, folder };
        server.wait_until_ready()?;
        Ok(server)
    }

    /// The empty database on it, as programs are told of it.
    pub(super) fn url(&self) -> String {
        format!("postgres://{USER}:{PASSWORD}@{}/postgres", self.address)
    }

    fn wait_until_ready(&mut self) -> Result<(), Failure> {
        let deadline = Instant::now() + READY_WITHIN;
        // It takes connections a little before it takes commands, so its own word is waited for.
        while !self.is_ready() {
            let has_ended = shell::wait(&mut self.keeper, Duration::ZERO)?.is_some();
            if has_ended || Instant::now() >= deadline {
                self.show_log();
                let what = format!("was not ready within {} s", READY_WITHIN.as_secs());
                return Err(Failure::Server { address: self.address, what });
            }
            thread::sleep(ASK_EVERY);
        }
        Ok(())
    }

    fn show_log(&self) {
        server::show_end(&self.folder.path().join(LOG), self.address);
    }

    fn is_ready(&self) -> bool {
        fs::read_to_string(self.folder.path().join(LOG)).is_ok_and(|log| log.contains(READY))
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // The keeper ends the server; it has done so when it ends itself, and the folder can go.
        drop(self.keeper.stdin.take());
        drop(self.keeper.wait());
    }
}

/// Whom the server runs as.
#[derive(Debug)]
struct User {
    name: &'static str,
    /// The number of its own group.
    group: String,
}

impl User {
    /// Another user when we are root, whom PostgreSQL refuses; nothing when it can run as us.
    fn other_than_root() -> Result<Option<Self>, Failure> {
        if shell::read(Command::new("id").arg("-u"))?.trim() != "0" {
            return Ok(None);
        }
        // Debian's package brings a user of its own; without it there is always `nobody`.
        let has_own = shell::succeeds(Command::new("id").args(["-u", "postgres"]));
        let name = if has_own { "postgres" } else { "nobody" };
        let group = shell::read(Command::new("id").args(["-g", name]))?.trim().to_owned();
        Ok(Some(Self { name, group }))
    }
}

/// Makes a folder or file that user's.
fn give(path: &Path, user: Option<&User>) -> Result<(), Failure> {
    user.map_or(Ok(()), |user| shell::run(Command::new("chown").arg(user.name).arg(path)))
}

/// The words that make a program run as that user.
fn words_for(user: Option<&User>, program: &Path) -> Vec<OsString> {
    let mut words: Vec<OsString> = Vec::new();
    if let Some(User { name, group }) = user {
        words.extend(["setpriv", "--reuid", name, "--regid", group, "--clear-groups"].map(OsString::from));
    }
    words.push(program.into());
    words
}

/// Makes the files of an empty server, which asks for passwords as one in production does.
fn make_cluster(folder: &Path, user: Option<&User>) -> Result<(), Failure> {
    let secret = folder.join("password");
    fs::write(&secret, PASSWORD).map_err(Failure::io("write a password"))?;
    give(&secret, user)?;
    let words = words_for(user, &tools::INITDB.path()?);
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).args(["--username", USER, "--auth", "scram-sha-256", "--no-sync"]);
    command.args(["--encoding", "UTF8", "--locale", "C", "--pwfile"]).arg(secret);
    shell::run(command.arg("--pgdata").arg(folder.join(DATA)).current_dir(folder))
}

/// Starts the shell that keeps the server.
fn start_keeper(folder: &Path, user: Option<&User>, address: SocketAddr) -> Result<Child, Failure> {
    let start = || -> io::Result<Child> {
        let log = File::create(folder.join(LOG))?;
        let (host, port) = (address.ip().to_string(), address.port().to_string());
        let program = tools::POSTGRES.path().map_err(io::Error::other)?;
        let mut command = Command::new("sh");
        command.args(["-c", KEEPER, "sh"]).args(words_for(user, &program)).arg("-D").arg(folder.join(DATA));
        // No socket in a folder that others share, room for many tests at once, and nothing to survive a crash.
        command.args(["-h", &host, "-p", &port, "-k", "", "-N", "500", "-F"]);
        // Who drops a database waits for all who are at their password. A test that does it may itself be one of them: then
        // it waits for the server to lose patience, which is a minute unless told.
        command.args(["-c", "authentication_timeout=3s"]);
        command.stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log).current_dir(folder).spawn()
    };
    start().map_err(Failure::io("start PostgreSQL"))
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn another_user_runs_it_when_we_are_root() {
        let user = User { name: "nobody", group: "65534".to_owned() };
        let words = words_for(Some(&user), Path::new("/bin/initdb"));
        let expected = "setpriv --reuid nobody --regid 65534 --clear-groups /bin/initdb";
        assert_eq!(words.join(" ".as_ref()), expected);
        assert_eq!(words_for(None, Path::new("/bin/initdb")), ["/bin/initdb"]);
    }

    #[test]
    #[ignore = "needs PostgreSQL: run `cargo xtask test`"]
    fn a_server_starts_and_goes_with_its_folder() {
        let server = Postgres::start().unwrap();
        let (address, folder) = (server.address, server.folder.path().to_owned());
        assert!(TcpStream::connect(address).is_ok());
        drop(server);
        assert!(TcpStream::connect(address).is_err());
        assert!(!folder.exists());
    }
}
