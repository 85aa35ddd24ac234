//! Whose turn it is to relay: a lock on a file beside the database, which the system gives back even when a process
//! is killed.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::PathBuf;

use crate::capture::CaptureError;

/// The lock of one shared cursor.
#[derive(Debug)]
pub(super) struct Turn {
    path: PathBuf,
    held: Option<File>,
}

impl Turn {
    /// The lock of the cursor `name` of the database in the file `database`.
    pub(super) fn new(database: &str, name: &str) -> Self {
        Self { path: format!("{database}-waterway-{:016x}.lock", fnv1a(name)).into(), held: None }
    }

    /// Whether it is ours.
    pub(super) fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// Takes it if nobody has it, until this is dropped.
    pub(super) fn take(&mut self) -> Result<bool, CaptureError> {
        if self.held.is_some() {
            return Ok(true);
        }
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&self.path)?;
        match file.try_lock() {
            Ok(()) => self.held = Some(file),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        Ok(self.is_held())
    }

    /// Gives it back.
    pub(super) fn give_back(&mut self) {
        self.held = None;
    }
}

/// A hash that is the same in every process and version.
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn one_at_a_time_has_the_turn() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("a.db");
        let new = |name| Turn::new(database.to_str().unwrap(), name);
        let (mut first, mut second, mut other) = (new("layer"), new("layer"), new("other layer"));
        assert!(first.take().unwrap() && first.take().unwrap());
        assert!(!second.take().unwrap());
        assert!(other.take().unwrap());
        first.give_back();
        assert!(second.take().unwrap() && !first.take().unwrap());
        drop(second);
        assert!(first.take().unwrap());
    }

    /// Where the process that is killed finds the path.
    const PATH: &str = "WATERWAY_TEST_TURN";

    #[test]
    #[ignore = "runs in a process of its own, which is killed"]
    fn holds_the_turn() {
        let mut turn = Turn { path: std::env::var_os(PATH).unwrap().into(), held: None };
        assert!(turn.take().unwrap());
        println!("locked");
        loop {
            std::thread::park();
        }
    }

    #[test]
    fn a_killed_process_has_the_turn_no_longer() {
        let folder = tempfile::tempdir().unwrap();
        let mut turn = Turn::new(folder.path().join("a.db").to_str().unwrap(), "layer");
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--nocapture", "--exact", "capture::sqlite::turn::tests::holds_the_turn"])
            .env(PATH, &turn.path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("locked")));
        assert!(!turn.take().unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(turn.take().unwrap());
    }

    #[test]
    fn the_hash_stays_what_it_is() {
        assert_eq!(fnv1a(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a("a"), 0xaf63_dc4c_8601_ec8c);
    }
}
