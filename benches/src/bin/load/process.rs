//! What the server has used until now, as the kernel counts it.

use std::fs;
use std::time::Duration;

use crate::Failure;

/// Nanoseconds of a clock tick, in which the kernel tells times of whole processes: a hundredth of a second on every
/// Linux.
const TICK: u64 = 10_000_000;

/// Where user and system time stand in `stat`, counted behind the name of the program.
const USER_TIME: usize = 11;

/// A moment of some processes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// CPU time of all threads, those that have ended included.
    pub(crate) cpu: Duration,
    /// Resident memory in KiB.
    pub(crate) rss: u64,
}

impl Usage {
    /// Adds up what the processes have used.
    pub(crate) fn of(pids: &[u32]) -> Result<Self, Failure> {
        let mut all = Self::default();
        for pid in pids {
            let gone = |cause| format!("process {pid} cannot be watched: {cause}");
            all.cpu += cpu(*pid).map_err(gone)?;
            all.rss += rss(*pid).map_err(gone)?;
        }
        Ok(all)
    }

    /// Of this program.
    pub(crate) fn own() -> Result<Self, Failure> {
        Self::of(&[std::process::id()])
    }
}

/// The scheduler counts the nanoseconds of threads that live, and the process counts ticks of all that ever lived. The
/// larger of the two misses ended threads by two ticks at most.
fn cpu(pid: u32) -> Result<Duration, Failure> {
    let mut living = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end between being listed and being read.
        let line = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
        living += line.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0);
    }
    let ever = ticks(&fs::read_to_string(format!("/proc/{pid}/stat"))?).ok_or("its stat has another form")?;
    Ok(Duration::from_nanos(living.max(ever * TICK)))
}

/// User and system time in a line of `stat`.
fn ticks(stat: &str) -> Option<u64> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    let mut fields = behind_name.split_whitespace().skip(USER_TIME);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

/// What `status` tells is counted on each core apart and may be off by a megabyte; this is not.
fn rss(pid: u32) -> Result<u64, Failure> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Rss:")).ok_or("it tells no Rss")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_programs_may_hold_anything() {
        let stat = "7 (a) b) (c) S 1 7 7 0 -1 4194560 100 0 0 0 30 12 1 2 20 0 1 0 400 9 9";
        assert_eq!(ticks(stat), Some(42));
    }

    #[test]
    fn ended_threads_count() {
        let before = Usage::own().unwrap();
        let work = || (0..40_000_000_u64).map(std::hint::black_box).sum::<u64>();
        let spent = std::thread::spawn(work).join().unwrap();
        let after = Usage::own().unwrap();
        assert!(spent > 0 && after.cpu > before.cpu && after.rss > 0, "{before:?} {after:?}");
    }

    #[test]
    fn a_process_that_is_gone_is_named() {
        let failure = Usage::of(&[u32::MAX]).unwrap_err().to_string();
        assert!(failure.contains(&u32::MAX.to_string()), "{failure}");
    }
}
