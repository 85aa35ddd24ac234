//! Hashes passwords and checks them, a few at a time: each takes about 20 ms of a processor and 19 MiB of memory.

use std::sync::Arc;
use std::time::Duration;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::AccountError;

/// The longest password, in bytes.
pub(crate) const LENGTH_LIMIT: usize = 1024;
/// How many are hashed at once.
const AT_ONCE: usize = 2;
/// How many may wait for their turn: about as many as get it within a second. Beyond that one is told at once, so that
/// a flood of guesses neither fills the memory nor makes everybody wait.
const WAITING: usize = 64;
/// How long one waits, be it for its turn.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// The hash of a random password that nobody kept: what a password is checked against when there is no user, so that
/// the time it takes does not tell.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$1t0i0L9/0qeP3QM1iIyD/g$3idDKi9eXYyMl/fXboz0kuE62uqLRmWvASP6DQaZ6QA";

/// The place where passwords wait for their turn.
#[derive(Debug)]
pub(crate) struct Passwords {
    permits: Arc<Semaphore>,
    places: Semaphore,
}

/// The right to hash now; others wait until it is dropped.
#[derive(Debug, Clone)]
pub(crate) struct Turn {
    // The hashing thread holds it, too: it cannot be stopped when whoever asked goes away.
    permit: Arc<OwnedSemaphorePermit>,
}

impl Passwords {
    pub(crate) fn new() -> Self {
        Self { permits: Arc::new(Semaphore::new(AT_ONCE)), places: Semaphore::new(WAITING) }
    }

    /// Waits, in the order of asking, at most 10 seconds, and not at all where 64 wait already.
    pub(crate) async fn turn(&self) -> Result<Turn, AccountError> {
        let _place = self.places.try_acquire().map_err(|_| AccountError::Busy)?;
        let permit = tokio::time::timeout(PATIENCE, self.permits.clone().acquire_owned()).await;
        let permit = permit.map_err(|_| AccountError::Busy)?.expect("this semaphore is never closed");
        Ok(Turn { permit: Arc::new(permit) })
    }
}

impl Turn {
    /// An argon2id hash as a PHC string, with a salt of its own.
    pub(crate) async fn hash(&self, password: &str) -> Result<String, AccountError> {
        check_length(password)?;
        let password = password.to_owned();
        self.run(move || {
            let hash = Argon2::default().hash_password(password.as_bytes());
            hash.map(|hash| hash.to_string()).map_err(|error| AccountError::System(error.to_string()))
        })
        .await
    }

    /// Whether this is the password of the hash; it takes as long when there is no hash.
    pub(crate) async fn verify(&self, password: &str, hash: Option<&str>) -> Result<bool, AccountError> {
        if check_length(password).is_err() {
            return Ok(false);
        }
        let (password, hash) = (password.to_owned(), hash.map(str::to_owned));
        self.run(move || {
            let nobody = PasswordHash::new(NOBODY).expect("a constant that a test reads");
            let known = hash.as_deref().and_then(|hash| PasswordHash::new(hash).ok());
            let checked = known.as_ref().unwrap_or(&nobody);
            let is_right = Argon2::default().verify_password(password.as_bytes(), checked).is_ok();
            Ok(known.is_some() && is_right)
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, AccountError> + Send + 'static,
    ) -> Result<T, AccountError> {
        let permit = self.permit.clone();
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work()
        });
        task.await.map_err(|error| AccountError::System(error.to_string()))?
    }
}

fn check_length(password: &str) -> Result<(), AccountError> {
    match password.len() {
        0 => Err(AccountError::EmptyPassword),
        1..=LENGTH_LIMIT => Ok(()),
        _ => Err(AccountError::PasswordTooLong),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn turn() -> Turn {
        Passwords::new().turn().await.unwrap()
    }

    #[tokio::test]
    async fn only_the_password_fits_its_hash() {
        let turn = turn().await;
        let hash = turn.hash("grüße").await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(turn.verify("grüße", Some(&hash)).await.unwrap());
        assert!(!turn.verify("Grüße", Some(&hash)).await.unwrap());
        assert_ne!(hash, turn.hash("grüße").await.unwrap(), "each hash has its own salt");
    }

    #[tokio::test]
    async fn nothing_fits_where_there_is_no_hash() {
        let turn = turn().await;
        assert!(!turn.verify("secret", None).await.unwrap());
        assert!(!turn.verify("secret", Some("!unusable")).await.unwrap());
    }

    #[tokio::test]
    async fn lengths_are_limited() {
        let turn = turn().await;
        assert!(matches!(turn.hash("").await, Err(AccountError::EmptyPassword)));
        let long = "x".repeat(LENGTH_LIMIT + 1);
        assert!(matches!(turn.hash(&long).await, Err(AccountError::PasswordTooLong)));
        assert!(!turn.verify(&long, None).await.unwrap());
    }

    #[test]
    fn checking_nobody_costs_as_much_as_checking_a_user() {
        let nobody = PasswordHash::new(NOBODY).unwrap();
        let real = Argon2::default().hash_password(b"x").unwrap();
        assert_eq!((nobody.algorithm, nobody.version), (real.algorithm, real.version));
        assert_eq!(nobody.params, real.params);
        assert_eq!(nobody.hash.unwrap().as_bytes().len(), real.hash.unwrap().as_bytes().len());
    }

    async fn gets_a_turn(passwords: Arc<Passwords>) -> bool {
        passwords.turn().await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn who_finds_no_place_to_wait_is_told_at_once() {
        let passwords = Arc::new(Passwords::new());
        let turns = (passwords.turn().await.unwrap(), passwords.turn().await.unwrap());
        let mut waiting = tokio::task::JoinSet::new();
        for _ in 0..WAITING {
            waiting.spawn(gets_a_turn(passwords.clone()));
        }
        while passwords.places.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let start = tokio::time::Instant::now();
        assert!(matches!(passwords.turn().await, Err(AccountError::Busy)));
        assert_eq!(start.elapsed(), Duration::ZERO);
        drop(turns);
        assert_eq!(waiting.join_all().await, [true; WAITING]);
        passwords.turn().await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_too_long_for_a_turn_is_told() {
        let passwords = Passwords::new();
        let turns = (passwords.turn().await.unwrap(), passwords.turn().await.unwrap());
        assert!(matches!(passwords.turn().await, Err(AccountError::Busy)));
        drop(turns);
        passwords.turn().await.unwrap();
    }
}
