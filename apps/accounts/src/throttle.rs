//! Slows down those who guess passwords: 10 attempts per username in 5 minutes.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

/// Attempts per username and window.
const ATTEMPTS: u32 = 10;
/// Counted from the first failed attempt.
const WINDOW: Duration = Duration::from_secs(5 * 60);
/// Usernames that are remembered at once; beyond that the oldest windows are forgotten.
const NAMES: usize = 10_000;

/// The failed attempts of the last minutes, by username: by any, for whether somebody has a name must not show, and
/// other programs give names that this one would not.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    windows: Mutex<HashMap<Key, Window>>,
}

/// A username's hash: it takes the same room however long the name is.
type Key = [u8; 32];

#[derive(Debug)]
struct Window {
    attempts: u32,
    ends: Instant,
}

impl Throttle {
    /// Counts an attempt before it is made, so that many at once cannot slip through; or says how many seconds to
    /// wait.
    pub(crate) fn attempt(&self, username: &str, now: Instant) -> Result<(), u64> {
        let key = key(username);
        let mut windows = self.windows.lock();
        if windows.len() >= NAMES && !windows.contains_key(&key) {
            make_room(&mut windows, now);
        }
        let new = || Window { attempts: 0, ends: now + WINDOW };
        let window = windows.entry(key).or_insert_with(new);
        if window.ends <= now {
            *window = new();
        }
        if window.attempts >= ATTEMPTS {
            return Err((window.ends - now).as_secs() + 1);
        }
        window.attempts += 1;
        Ok(())
    }

    /// Forgets the attempts of one who proved to know the password.
    pub(crate) fn forgive(&self, username: &str) {
        self.windows.lock().remove(&key(username));
    }
}

fn key(username: &str) -> Key {
    Sha256::digest(username).into()
}

/// Removes windows that are over or, when there are none, the one that ends first.
fn make_room(windows: &mut HashMap<Key, Window>, now: Instant) {
    windows.retain(|_, window| window.ends > now);
    if windows.len() >= NAMES
        && let Some(oldest) = windows.iter().min_by_key(|(_, window)| window.ends).map(|(key, _)| *key)
    {
        windows.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_eleventh_attempt_waits_for_the_window_to_end() {
        let (throttle, start) = (Throttle::default(), Instant::now());
        for second in 0..10 {
            let now = start + Duration::from_secs(second);
            assert_eq!(throttle.attempt("ana", now), Ok(()));
        }
        assert_eq!(throttle.attempt("ana", start + Duration::from_secs(10)), Err(291));
        assert_eq!(throttle.attempt("ben", start), Ok(()), "others are free");
        assert_eq!(throttle.attempt("ana", start + WINDOW), Ok(()));
    }

    #[test]
    fn success_forgives() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for _ in 0..100 {
            assert_eq!(throttle.attempt("ana", now), Ok(()));
            throttle.forgive("ana");
        }
    }

    #[test]
    fn the_table_is_bounded() {
        let (throttle, start) = (Throttle::default(), Instant::now());
        for n in 0..NAMES + 5 {
            throttle.attempt(&n.to_string(), start + Duration::from_micros(n as u64)).unwrap();
        }
        let windows = throttle.windows.lock();
        assert_eq!(windows.len(), NAMES);
        assert!(!windows.contains_key(&key("4")) && windows.contains_key(&key("5")), "the oldest went first");
    }

    #[test]
    fn what_is_over_makes_room_at_once() {
        let (throttle, start) = (Throttle::default(), Instant::now());
        for n in 0..NAMES {
            throttle.attempt(&n.to_string(), start).unwrap();
        }
        throttle.attempt("ana", start + WINDOW).unwrap();
        assert_eq!(throttle.windows.lock().len(), 1);
    }
}
