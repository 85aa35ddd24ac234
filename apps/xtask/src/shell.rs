//! Runs other programs: with their output shown, without input, and never for ever.

use std::io;
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The longest that one command may take; a cold build on two cores takes a few minutes.
const LIMIT: Duration = Duration::from_mins(15);

/// How long a program that was told to stop may tidy up before it is killed.
const GRACE: Duration = Duration::from_secs(5);

/// How often a running program is asked whether it has ended.
const POLL: Duration = Duration::from_millis(20);

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The program is not there, or may not be run.
    #[error("`{command}` cannot be started: {source}")]
    Start {
        /// The command line.
        command: String,
        /// What the system said.
        source: io::Error,
    },
    /// The program ended with a failure.
    #[error("`{command}` failed ({status}); its output above says why")]
    Status {
        /// The command line.
        command: String,
        /// How it ended.
        status: ExitStatus,
    },
    /// The program did not end and was stopped.
    #[error("`{command}` did not end within {} s and was stopped", limit.as_secs())]
    Late {
        /// The command line.
        command: String,
        /// How long it had.
        limit: Duration,
    },
    /// A file or folder could not be used, or a program could not be watched.
    #[error("cannot {doing}: {source}")]
    Io {
        /// What was tried.
        doing: String,
        /// What the system said.
        source: io::Error,
    },
    /// Programs are missing and may not be installed by us.
    #[error("cannot find {programs}: run `apt-get install {packages}` as root")]
    Missing {
        /// The programs.
        programs: String,
        /// The Debian packages that hold them.
        packages: String,
    },
    /// A step that should run tests found none, which would otherwise look like success.
    #[error("there are no tests: no file matches {0}")]
    NoTests(String),
    /// cargo built a crate but named no program.
    #[error("cargo built `{0}` but named no program: give the crate a binary of this name")]
    NoProgram(String),
    /// The load generator ended well but did not report.
    #[error("the load generator has no report of {0}: its output above is not JSON")]
    NoReport(String),
    /// A server ended, or did not answer in time.
    #[error("the server at {address} {what}; its log is shown above")]
    Server {
        /// Where it should answer.
        address: SocketAddr,
        /// What it did instead of what it should.
        what: String,
    },
}

impl Failure {
    /// For `map_err`: names what was tried when the system refused it.
    pub(super) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }
}

/// Runs a command with its output shown.
pub(super) fn run(command: &mut Command) -> Result<(), Failure> {
    run_within(command, LIMIT)
}

fn run_within(command: &mut Command, limit: Duration) -> Result<(), Failure> {
    let line = command_line(command);
    println!("$ {line}");
    let mut child = start(command)?;
    match wait(&mut child, limit)? {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(Failure::Status { command: line, status }),
        None => {
            stop(&mut child)?;
            Err(Failure::Late { command: line, limit })
        }
    }
}

/// Starts a command without input.
pub(super) fn start(command: &mut Command) -> Result<Child, Failure> {
    command
        .stdin(Stdio::null())
        .spawn()
        .map_err(|source| Failure::Start { command: command_line(command), source })
}

/// Runs a command and returns what it wrote to its standard output.
pub(super) fn read(command: &mut Command) -> Result<String, Failure> {
    let line = command_line(command);
    println!("$ {line}");
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|source| Failure::Start { command: line.clone(), source })?;
    if !output.status.success() {
        return Err(Failure::Status { command: line, status: output.status });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether a command succeeds; its output is dropped.
pub(super) fn succeeds(command: &mut Command) -> bool {
    let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Waits for a program to end; nothing when it still runs after `limit`.
pub(super) fn wait(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>, Failure> {
    let deadline = Instant::now() + limit;
    loop {
        let status = child.try_wait().map_err(Failure::io("watch a running program"))?;
        if status.is_some() || Instant::now() >= deadline {
            return Ok(status);
        }
        thread::sleep(POLL);
    }
}

/// Asks a program to stop, by its pid, as a service manager would.
pub(super) fn terminate(child: &Child) -> Result<(), Failure> {
    // The standard library can only kill; the shell has `kill` built in on every system.
    run(Command::new("sh").args(["-c", "kill -TERM \"$0\"", &child.id().to_string()]))
}

/// Asks a program to stop and kills it when it does not.
fn stop(child: &mut Child) -> Result<(), Failure> {
    terminate(child)?;
    if wait(child, GRACE)?.is_none() {
        child.kill().map_err(Failure::io("kill a program that does not stop"))?;
        child.wait().map_err(Failure::io("wait for a killed program"))?;
    }
    Ok(())
}

fn command_line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// A folder of our own, which goes with the handle.
pub(super) fn temporary_folder() -> Result<tempfile::TempDir, Failure> {
    let folder = tempfile::Builder::new().prefix("waterway-").tempdir();
    folder.map_err(Failure::io("make a temporary folder"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn commands_succeed_or_fail_by_their_status() {
        run(&mut sh("exit 0")).unwrap();
        let failure = run(&mut sh("exit 3")).unwrap_err();
        assert!(matches!(&failure, Failure::Status { status, .. } if status.code() == Some(3)), "{failure}");
        assert!(succeeds(&mut sh("exit 0")));
        assert!(!succeeds(&mut sh("exit 1")));
        assert!(!succeeds(&mut Command::new("no-such-program-here")));
    }

    #[test]
    fn a_missing_program_is_named() {
        let failure = run(Command::new("no-such-program-here").arg("--help")).unwrap_err();
        assert!(failure.to_string().contains("no-such-program-here --help"), "{failure}");
    }

    #[test]
    fn a_command_gets_no_input() {
        assert_eq!(read(&mut sh("cat; echo end")).unwrap(), "end\n");
        assert!(read(&mut sh("exit 1")).is_err());
    }

    #[test]
    fn a_command_that_does_not_end_is_stopped() {
        let failure = run_within(&mut sh("exec sleep 600"), Duration::ZERO).unwrap_err();
        assert!(matches!(failure, Failure::Late { .. }), "{failure}");
    }
}
