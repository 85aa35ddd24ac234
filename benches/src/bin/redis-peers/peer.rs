//! A process that sends or receives, ours or Python's: started with a task, told what to do over pipes, and its CPU
//! time read from outside, so that both sides are measured by the same yardstick.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::messages::Task;
use crate::{Failure, WORK};

/// How long a process may take beyond the time that its task says: to start, or to catch up.
const PATIENCE: Duration = Duration::from_secs(90);

/// How long it may take to leave its group and end.
const LONGEST_END: Duration = Duration::from_secs(3);

/// The kernel tells CPU time in hundredths of a second.
const TICKS_PER_SECOND: f64 = 100.0;

/// Whose layers are measured.
pub(crate) struct Side {
    pub(crate) name: &'static str,
    program: PathBuf,
    /// What comes before the task.
    argument: PathBuf,
}

impl Side {
    /// This program, started once more.
    pub(crate) fn ours() -> Result<Self, Failure> {
        Ok(Self { name: "ours", program: std::env::current_exe()?, argument: WORK.into() })
    }

    /// The Python of `WATERWAY_PYTHON`, or else the one that the interop tests have made.
    pub(crate) fn python() -> Result<Self, Failure> {
        let benches = Path::new(env!("CARGO_MANIFEST_DIR"));
        let made = benches.with_file_name("target/interop/redis8/bin/python");
        let program = std::env::var_os("WATERWAY_PYTHON").map_or(made, PathBuf::from);
        let imports = Command::new(&program)
            .args(["-c", "import channels_redis.core"])
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        if !imports {
            let program = program.display();
            let help = "`cargo xtask test --only interop` makes it, WATERWAY_PYTHON names another";
            return Err(format!("{program} is not a Python with channels_redis: {help}").into());
        }
        Ok(Self { name: "channels_redis", program, argument: benches.join("python/redis_peers.py") })
    }
}

pub(crate) struct Peer {
    child: Child,
    orders: Option<ChildStdin>,
    answers: mpsc::Receiver<String>,
    longest: Duration,
}

impl Peer {
    pub(crate) fn start(side: &Side, task: &Task) -> Result<Self, Failure> {
        let mut child = Command::new(&side.program)
            .arg(&side.argument)
            .arg(serde_json::to_string(task)?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (lines, answers) = mpsc::sync_channel(1);
        let said = BufReader::new(child.stdout.take().ok_or("its output is piped")?);
        // It ends with the process, or with whoever waits for answers.
        std::thread::spawn(move || said.lines().map_while(Result::ok).try_for_each(|line| lines.send(line)));
        let orders = child.stdin.take();
        Ok(Self { child, orders, answers, longest: PATIENCE + Duration::from_secs_f64(task.seconds) })
    }

    pub(crate) fn tell(&self, order: &impl Serialize) -> Result<(), Failure> {
        let mut orders = self.orders.as_ref().ok_or("its input is piped")?;
        Ok(writeln!(orders, "{}", serde_json::to_string(order)?)?)
    }

    pub(crate) fn hear<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        let line = self.answers.recv_timeout(self.longest);
        let line = line.map_err(|_| "a process gave no answer; what it said is above")?;
        Ok(serde_json::from_str(&line)?)
    }

    /// User and system time of all its threads until now.
    pub(crate) fn cpu_seconds(&self) -> Result<f64, Failure> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        cpu_seconds_in(&stat).ok_or_else(|| "/proc does not tell CPU times".into())
    }
}

/// Fields 14 and 15; the second is the program's name in parentheses, which may hold blanks.
fn cpu_seconds_in(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / TICKS_PER_SECOND)
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It leaves its group when its input ends.
        drop(self.orders.take());
        let end = Instant::now() + LONGEST_END;
        while Instant::now() < end && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_user_and_system_time() {
        let stat = "77 (a ) name) S 1 77 77 0 -1 4194304 5 6 7 8 150 25 9 9 20 0 3 0 1 2 3";
        assert_eq!(cpu_seconds_in(stat), Some(1.75));
        assert_eq!(cpu_seconds_in("77 (a) S"), None);
    }
}
