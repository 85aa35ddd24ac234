//! Lets so many attempts through in a while, by whatever they are counted.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

/// Windows that are remembered at once; beyond that the oldest are forgotten.
const WINDOWS: usize = 10_000;

/// The failed attempts of late, by username or something else that requests have.
#[derive(Debug)]
pub(crate) struct Throttle {
    attempts: u32,
    /// Counted from the first failed attempt.
    window: Duration,
    windows: Mutex<HashMap<Key, Window>>,
}

/// The hash of what attempts are counted by: it takes the same room however long that is.
type Key = [u8; 32];

#[derive(Debug)]
struct Window {
    attempts: u32,
    ends: Instant,
}

impl Throttle {
    /// Lets so many attempts through in each window.
    pub(crate) fn new(attempts: u32, window: Duration) -> Self {
        Self { attempts, window, windows: Mutex::default() }
    }

    /// Says how many seconds to wait where an attempt would not be let through now; it counts nothing.
    pub(crate) fn check(&self, by: impl AsRef<[u8]>, now: Instant) -> Result<(), u64> {
        self.windows.lock().get(&key(by)).map_or(Ok(()), |window| self.has_room(window, now))
    }

    /// Counts an attempt before it is made, so that many at once cannot slip through; or says how many seconds to
    /// wait.
    pub(crate) fn attempt(&self, by: impl AsRef<[u8]>, now: Instant) -> Result<(), u64> {
        let key = key(by);
        let mut windows = self.windows.lock();
        if windows.len() >= WINDOWS && !windows.contains_key(&key) {
            make_room(&mut windows, now);
        }
        let new = || Window { attempts: 0, ends: now + self.window };
        let window = windows.entry(key).or_insert_with(new);
        if window.ends <= now {
            *window = new();
        }
        self.has_room(window, now)?;
        window.attempts += 1;
        Ok(())
    }

    fn has_room(&self, window: &Window, now: Instant) -> Result<(), u64> {
        if window.ends <= now || window.attempts < self.attempts {
            return Ok(());
        }
        Err((window.ends - now).as_secs() + 1)
    }

    /// Forgets the attempts of one who proved to know the password.
    pub(crate) fn forgive(&self, by: impl AsRef<[u8]>) {
        self.windows.lock().remove(&key(by));
    }

    /// Does not count one attempt of those that were.
    pub(crate) fn take_back(&self, by: impl AsRef<[u8]>) {
        if let Some(window) = self.windows.lock().get_mut(&key(by)) {
            window.attempts = window.attempts.saturating_sub(1);
        }
    }
}

fn key(by: impl AsRef<[u8]>) -> Key {
    Sha256::digest(by).into()
}

/// Removes windows that are over or, when there are none, the one that ends first.
fn make_room(windows: &mut HashMap<Key, Window>, now: Instant) {
    windows.retain(|_, window| window.ends > now);
    if windows.len() >= WINDOWS
        && let Some(oldest) = windows.iter().min_by_key(|(_, window)| window.ends).map(|(key, _)| *key)
    {
        windows.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(5 * 60);

    fn throttle() -> Throttle {
        Throttle::new(10, WINDOW)
    }

    #[test]
    fn the_eleventh_attempt_waits_for_the_window_to_end() {
        let (throttle, start) = (throttle(), Instant::now());
        for second in 0..10 {
            let now = start + Duration::from_secs(second);
            assert_eq!(throttle.attempt("ana", now), Ok(()));
        }
        assert_eq!(throttle.attempt("ana", start + Duration::from_secs(10)), Err(291));
        assert_eq!(throttle.attempt("ben", start), Ok(()), "others are free");
        assert_eq!(throttle.attempt("ana", start + WINDOW), Ok(()));
    }

    #[test]
    fn a_check_says_what_an_attempt_would_and_counts_nothing() {
        let (throttle, start) = (throttle(), Instant::now());
        for _ in 0..10 {
            assert_eq!(throttle.check("ana", start), Ok(()));
            assert_eq!(throttle.check("ana", start), Ok(()));
            assert_eq!(throttle.attempt("ana", start), Ok(()));
        }
        assert_eq!(throttle.check("ana", start + Duration::from_secs(10)), Err(291));
        assert_eq!(throttle.check("ben", start), Ok(()), "others are free");
        assert_eq!(throttle.check("ana", start + WINDOW), Ok(()));
    }

    #[test]
    fn success_forgives() {
        let (throttle, now) = (throttle(), Instant::now());
        for _ in 0..100 {
            assert_eq!(throttle.attempt("ana", now), Ok(()));
            throttle.forgive("ana");
        }
    }

    #[test]
    fn the_table_is_bounded() {
        let (throttle, start) = (throttle(), Instant::now());
        for n in 0..WINDOWS + 5 {
            throttle.attempt(n.to_string(), start + Duration::from_micros(n as u64)).unwrap();
        }
        let windows = throttle.windows.lock();
        assert_eq!(windows.len(), WINDOWS);
        assert!(!windows.contains_key(&key("4")) && windows.contains_key(&key("5")), "the oldest went first");
    }

    #[test]
    fn what_is_over_makes_room_at_once() {
        let (throttle, start) = (throttle(), Instant::now());
        for n in 0..WINDOWS {
            throttle.attempt(n.to_string(), start).unwrap();
        }
        throttle.attempt("ana", start + WINDOW).unwrap();
        assert_eq!(throttle.windows.lock().len(), 1);
    }
}
