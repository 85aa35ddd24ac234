//! HTTP Basic authentication: reading the header, and remembering for a minute what was verified, for a script sends
//! its password with every request and argon2id is slow on purpose.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use crate::AccountError;

/// How long a verified password is not verified again.
const MEMORY: Duration = Duration::from_secs(60);
/// How many are remembered; beyond that the oldest are forgotten.
const PROOFS: usize = 1024;

/// What the header says.
#[derive(PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) username: String,
    pub(crate) password: String,
}

/// A `Basic` header that cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Reads the `Authorization` header; `None` when there is none, or one of another scheme.
pub(crate) fn presented(headers: &HeaderMap) -> Option<Result<Credentials, Malformed>> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(6)?;
    scheme.eq_ignore_ascii_case(b"basic ").then(|| decode(token.trim_ascii()).ok_or(Malformed))
}

fn decode(token: &[u8]) -> Option<Credentials> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let bytes = GeneralPurpose::new(&base64::alphabet::STANDARD, config).decode(token).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (username, password) = text.split_once(':')?;
    Some(Credentials { username: username.to_owned(), password: password.to_owned() })
}

/// The mark of one password that fitted one stored hash. Neither can be read from it.
pub(crate) type Proof = [u8; 32];

/// What was verified in the last minute.
pub(crate) struct Verified {
    salt: [u8; 32],
    proofs: Mutex<HashMap<Proof, Instant>>,
    lanes: Mutex<HashMap<Proof, Lane>>,
}

/// Where those who came with the same name and password stand one behind the other.
type Lane = Arc<tokio::sync::Mutex<()>>;

impl Verified {
    pub(crate) fn new() -> Result<Self, AccountError> {
        let mut salt = [0; 32];
        getrandom::fill(&mut salt)?;
        Ok(Self { salt, proofs: Mutex::default(), lanes: Mutex::default() })
    }

    /// The mark for a password and the hash that is stored *now*: a new password makes old marks meaningless.
    pub(crate) fn proof(&self, given: &Credentials, hash: &str) -> Proof {
        let mut digest = Sha256::new_with_prefix(self.salt);
        for part in [&given.username, &given.password, hash] {
            // With its length before it, no part can be mistaken for the end of another.
            digest.update(part.len().to_le_bytes());
            digest.update(part);
        }
        digest.finalize().into()
    }

    /// The lane of this name and password, whether they are right or not. It is there while somebody has it.
    pub(crate) fn lane(&self, given: &Credentials) -> Lane {
        let mut lanes = self.lanes.lock();
        lanes.retain(|_, lane| Arc::strong_count(lane) > 1);
        lanes.entry(self.proof(given, "")).or_default().clone()
    }

    pub(crate) fn contains(&self, proof: &Proof, now: Instant) -> bool {
        self.proofs.lock().get(proof).is_some_and(|ends| *ends > now)
    }

    pub(crate) fn insert(&self, proof: Proof, now: Instant) {
        let mut proofs = self.proofs.lock();
        if proofs.len() >= PROOFS {
            proofs.retain(|_, ends| *ends > now);
        }
        if proofs.len() >= PROOFS
            && let Some(oldest) = proofs.iter().min_by_key(|(_, ends)| **ends).map(|(proof, _)| *proof)
        {
            proofs.remove(&oldest);
        }
        proofs.insert(proof, now + MEMORY);
    }
}

impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Option<Option<(String, String)>> {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        presented(&headers).map(|read| read.ok().map(|given| (given.username, given.password)))
    }

    fn given(username: &str, password: &str) -> Credentials {
        Credentials { username: username.to_owned(), password: password.to_owned() }
    }

    #[test]
    fn the_header_is_read_as_clients_write_it() {
        let expected = Some(Some(("ana".to_owned(), "p:w".to_owned())));
        for value in ["Basic YW5hOnA6dw==", "basic YW5hOnA6dw==", "BASIC  YW5hOnA6dw"] {
            assert_eq!(read(value), expected, "{value}");
        }
    }

    #[test]
    fn other_schemes_are_left_to_others_and_nonsense_is_told() {
        for other in ["Bearer YW5hOnB3", "Basi", "", "Basicx YW5hOnB3"] {
            assert_eq!(read(other), None, "{other}");
        }
        // Not base64; no colon; not UTF-8; nothing.
        for malformed in ["Basic ???", "Basic YW5h", "Basic /zr/", "Basic "] {
            assert_eq!(read(malformed), Some(None), "{malformed}");
        }
    }

    #[test]
    fn proofs_last_a_minute() {
        let (verified, now) = (Verified::new().unwrap(), Instant::now());
        let proof = verified.proof(&given("ana", "pw"), "h");
        assert!(!verified.contains(&proof, now));
        verified.insert(proof, now);
        assert!(verified.contains(&proof, now + Duration::from_secs(59)));
        assert!(!verified.contains(&proof, now + Duration::from_secs(60)));
    }

    #[test]
    fn each_part_of_a_proof_counts() {
        let verified = Verified::new().unwrap();
        let proof = verified.proof(&given("ana", "pw"), "h");
        for (username, password, hash) in [("an", "apw", "h"), ("ana", "pwh", ""), ("ana", "pw", "h2")] {
            assert_ne!(verified.proof(&given(username, password), hash), proof);
        }
        assert_ne!(
            Verified::new().unwrap().proof(&given("ana", "pw"), "h"),
            proof,
            "each process has its salt"
        );
    }

    #[test]
    fn the_memory_is_bounded() {
        let (verified, start) = (Verified::new().unwrap(), Instant::now());
        let proof = |n: usize| verified.proof(&given("ana", &n.to_string()), "h");
        for n in 0..=PROOFS {
            verified.insert(proof(n), start + Duration::from_micros(n as u64));
        }
        assert_eq!(verified.proofs.lock().len(), PROOFS);
        assert!(!verified.contains(&proof(0), start) && verified.contains(&proof(1), start));
        verified.insert(proof(0), start + 2 * MEMORY);
        assert_eq!(verified.proofs.lock().len(), 1, "what is over goes first");
    }
}
