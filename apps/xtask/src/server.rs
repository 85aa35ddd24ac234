//! A server that the checks start on a free port of this machine, and that never outlives them.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use super::shell::{self, Failure};

/// How long a server may take to migrate an empty database, load demo data and answer.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// How long a server may take to close its sockets after it was told to stop.
const STOP_WITHIN: Duration = Duration::from_secs(15);

/// How long one answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// How often a starting server is asked.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// How many of the log's last lines are shown when something failed.
const LOG_LINES: usize = 60;

/// A running server; dropping it kills it.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
}

/// An address of this machine that nobody listened to a moment ago.
pub(super) fn free_address() -> Result<SocketAddr, Failure> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    listener.and_then(|listener| listener.local_addr()).map_err(Failure::io("find a free port"))
}

impl Server {
    /// Starts `command`, which is to listen at `address`, with its output in the file `log`.
    pub(super) fn start(command: &mut Command, address: SocketAddr, log: &Path) -> Result<Self, Failure> {
        let open = || -> io::Result<(File, File)> {
            let file = File::create(log)?;
            Ok((file.try_clone()?, file))
        };
        let (stdout, stderr) = open().map_err(Failure::io(format!("write {}", log.display())))?;
        let child = shell::start(command.stdout(stdout).stderr(stderr))?;
        Ok(Self { child, address, log: log.to_owned() })
    }

    /// Waits until the server answers 200 at `path`.
    pub(super) fn wait_until_ready(&mut self, path: &str) -> Result<(), Failure> {
        self.wait_until_ready_within(path, READY_WITHIN)
    }

    fn wait_until_ready_within(&mut self, path: &str, limit: Duration) -> Result<(), Failure> {
        self.wait_until(limit, |address| match status_of(address, path) {
            Ok(200) => Ok(()),
            Ok(status) => Err(format!("{path}: {status}")),
            Err(error) => Err(format!("{path}: {error}")),
        })
    }

    /// Waits until the server takes connections, for one that does not speak HTTP.
    pub(super) fn wait_until_open(&mut self) -> Result<(), Failure> {
        let connect = |address: SocketAddr| TcpStream::connect_timeout(&address, ANSWER_WITHIN);
        self.wait_until(READY_WITHIN, |address| connect(address).map(drop).map_err(|error| error.to_string()))
    }

    /// Waits until a question about the server's address is answered well; what is wrong until then is text.
    fn wait_until(
        &mut self,
        limit: Duration,
        ask: impl Fn(SocketAddr) -> Result<(), String>,
    ) -> Result<(), Failure> {
        let deadline = Instant::now() + limit;
        while let Err(what) = ask(self.address) {
            if let Some(status) = shell::wait(&mut self.child, Duration::ZERO)? {
                return Err(self.failure(format!("ended before it was ready ({status})")));
            }
            if Instant::now() >= deadline {
                return Err(self.failure(format!("is not ready after {} s ({what})", limit.as_secs())));
            }
            thread::sleep(ASK_EVERY);
        }
        Ok(())
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The process.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Tells the server to stop as a service manager does, and checks that it ends in time and with code 0.
    pub(super) fn stop(mut self) -> Result<(), Failure> {
        shell::terminate(&self.child)?;
        match shell::wait(&mut self.child, STOP_WITHIN)? {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(self.failure(format!("did not stop cleanly ({status})"))),
            None => Err(self.failure(format!("did not stop within {} s", STOP_WITHIN.as_secs()))),
        }
    }

    /// Prints the end of the server's log.
    pub(super) fn show_log(&self) {
        show_end(&self.log, self.address);
    }

    fn failure(&self, what: String) -> Failure {
        self.show_log();
        Failure::Server { address: self.address, what }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A server that has ended and been waited for is left alone: its pid may be another's by now. The
        // standard library knows that, and neither call has a failure that anyone could act on here.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Prints the last lines of the log of the server at an address.
pub(super) fn show_end(log: &Path, address: SocketAddr) {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    println!("--- the last lines of the log of the server at {address}");
    for line in &lines[lines.len().saturating_sub(LOG_LINES)..] {
        println!("{line}");
    }
    println!("---");
}

/// The status of the answer to a plain GET.
fn status_of(address: SocketAddr, path: &str) -> io::Result<u16> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_WITHIN)?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    stream.set_write_timeout(Some(ANSWER_WITHIN))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("no HTTP status in {line:?}")))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    /// A program that stands for a server; the one who really answers is the test.
    fn start(script: &str, address: SocketAddr, folder: &Path) -> Server {
        Server::start(Command::new("sh").args(["-c", script]), address, &folder.join("log")).unwrap()
    }

    /// Answers each connection with the next of these statuses.
    fn answer(statuses: &'static [u16]) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for (status, stream) in statuses.iter().zip(listener.incoming()) {
                let mut reader = BufReader::new(stream.unwrap());
                let request: Vec<String> =
                    reader.by_ref().lines().map(Result::unwrap).take_while(|line| !line.is_empty()).collect();
                assert_eq!(request[0], "GET /readyz HTTP/1.1");
                write!(reader.get_mut(), "HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n").unwrap();
            }
        });
        address
    }

    #[test]
    fn a_server_is_ready_when_it_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let address = answer(&[503, 404, 200]);
        let mut server = start("exec sleep 600", address, folder.path());
        server.wait_until_ready("/readyz").unwrap();
    }

    #[test]
    fn a_server_that_is_never_ready_is_a_failure() {
        let folder = tempfile::tempdir().unwrap();
        let mut server = start("exec sleep 600", answer(&[503]), folder.path());
        let failure = server.wait_until_ready_within("/readyz", Duration::ZERO).unwrap_err();
        assert!(failure.to_string().contains("503"), "{failure}");
    }

    #[test]
    fn a_server_that_ends_early_is_a_failure() {
        let folder = tempfile::tempdir().unwrap();
        let mut server = start("echo gone; exit 4", free_address().unwrap(), folder.path());
        let failure = server.wait_until_ready("/readyz").unwrap_err();
        assert!(failure.to_string().contains("ended before it was ready"), "{failure}");
        assert_eq!(fs::read_to_string(folder.path().join("log")).unwrap(), "gone\n");
    }

    #[test]
    fn stopping_asks_for_code_0() {
        let folder = tempfile::tempdir().unwrap();
        for (code, is_clean) in [(0, true), (3, false)] {
            let address = answer(&[200]);
            let script = format!("trap 'exit {code}' TERM; echo up; while :; do sleep 0.05; done");
            let mut server = start(&script, address, folder.path());
            // The trap is set when the line after it has been written.
            while fs::read_to_string(folder.path().join("log")).unwrap().is_empty() {
                assert_eq!(shell::wait(&mut server.child, Duration::ZERO).unwrap(), None);
                thread::yield_now();
            }
            assert_eq!(server.stop().is_ok(), is_clean);
        }
    }

    #[test]
    fn a_dropped_server_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let server = start("exec sleep 600", free_address().unwrap(), folder.path());
        let pid = server.child.id().to_string();
        let is_alive = || shell::succeeds(Command::new("sh").args(["-c", "kill -0 \"$0\"", &pid]));
        assert!(is_alive());
        drop(server);
        assert!(!is_alive());
    }
}
