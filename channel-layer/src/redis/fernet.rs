//! Fernet, the encryption of message bodies: AES-128 in CBC mode, signed with HMAC-SHA256, as urlsafe base64.
//!
//! A token is `80`, the time in 8 bytes, the IV in 16, the ciphertext and the signature in 32. Names of channels
//! and groups stay in clear, as in `channels_redis`.

use std::time::Duration;

use aes::Aes128;
use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

const VERSION: u8 = 0x80;
/// Version and time; the IV follows.
const HEAD: usize = 9;
/// Version, time and IV; the ciphertext follows.
const CIPHERTEXT: usize = HEAD + 16;
const SIGNATURE: usize = 32;
/// How far ahead of ours the clock of a peer may be before its fresh token is taken for forged.
const SKEW: Duration = Duration::from_secs(60);

/// Why a token cannot be read. Which of the keys came close is not told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error(
        "it is not encrypted as this layer expects: compare the format and the encryption keys of its peers"
    )]
    NotAToken,
    #[error("no encryption key fits it: compare the encryption keys of its peers")]
    NoKeyFits,
    #[error("its encrypted token is too old, or from the future: compare the clocks of its peers")]
    Expired,
}

/// The keys of a layer: the first encrypts, any decrypts, so that keys can be rotated.
pub(crate) struct Keyring {
    first: Key,
    others: Vec<Key>,
}

impl Keyring {
    /// Derives the keys from secrets of any length, the first first; `None` when there is none.
    pub(crate) fn new(secrets: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Option<Self> {
        let mut keys = secrets.into_iter().map(|secret| Key::derive(secret.as_ref()));
        Some(Self { first: keys.next()?, others: keys.collect() })
    }

    /// Encrypts at a time in whole seconds since 1970, with an IV that must be random and used once.
    pub(crate) fn encrypt(&self, plain: &[u8], now: u64, iv: [u8; 16]) -> String {
        self.first.encrypt(plain, now, iv)
    }

    /// Decrypts a token that is not older than `ttl`, if there is one, at a time in whole seconds since 1970.
    pub(crate) fn decrypt(
        &self,
        token: &[u8],
        now: u64,
        ttl: Option<Duration>,
    ) -> Result<Vec<u8>, Unreadable> {
        let token = Token::parse(token)?;
        let key = std::iter::once(&self.first).chain(&self.others).find(|key| key.has_signed(&token));
        let key = key.ok_or(Unreadable::NoKeyFits)?;
        if ttl.is_some_and(|ttl| !token.is_current(Duration::from_secs(now), ttl)) {
            return Err(Unreadable::Expired);
        }
        key.decrypt(&token)
    }
}

struct Key {
    signing: [u8; 16],
    encryption: [u8; 16],
}

impl Key {
    /// The digest is what Python would hand to Fernet in base64.
    fn derive(secret: &[u8]) -> Self {
        let digest: [u8; 32] = Sha256::digest(secret).into();
        let half = |from: usize| std::array::from_fn(|at| digest[from + at]);
        Self { signing: half(0), encryption: half(16) }
    }

    fn encrypt(&self, plain: &[u8], now: u64, iv: [u8; 16]) -> String {
        let mut token = vec![VERSION];
        token.extend(now.to_be_bytes());
        token.extend(iv);
        let cipher = cbc::Encryptor::<Aes128>::new(&self.encryption.into(), &iv.into());
        token.extend(cipher.encrypt_padded_vec::<Pkcs7>(plain));
        token.extend(self.signature(&token).finalize().into_bytes());
        URL_SAFE.encode(token)
    }

    fn signature(&self, signed: &[u8]) -> Hmac<Sha256> {
        let mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&self.signing);
        let mut mac = mac.expect("an HMAC takes a key of any length");
        mac.update(signed);
        mac
    }

    /// Compares in constant time, so that a forger cannot feel his way to a signature.
    fn has_signed(&self, token: &Token) -> bool {
        self.signature(token.signed()).verify_slice(token.signature()).is_ok()
    }

    fn decrypt(&self, token: &Token) -> Result<Vec<u8>, Unreadable> {
        let cipher = cbc::Decryptor::<Aes128>::new(&self.encryption.into(), &token.iv().into());
        cipher.decrypt_padded_vec::<Pkcs7>(token.ciphertext()).map_err(|_| Unreadable::NotAToken)
    }
}

/// A token out of its base64, long enough to have all parts.
struct Token(Vec<u8>);

impl Token {
    fn parse(text: &[u8]) -> Result<Self, Unreadable> {
        let bytes = URL_SAFE.decode(text).map_err(|_| Unreadable::NotAToken)?;
        if bytes.first() != Some(&VERSION) || bytes.len() < CIPHERTEXT + SIGNATURE {
            return Err(Unreadable::NotAToken);
        }
        Ok(Self(bytes))
    }

    fn made_at(&self) -> Duration {
        let seconds = self.0[1..HEAD].iter().fold(0, |seconds, byte| seconds << 8 | u64::from(*byte));
        Duration::from_secs(seconds)
    }

    fn is_current(&self, now: Duration, ttl: Duration) -> bool {
        let made_at = self.made_at();
        made_at.saturating_add(ttl) >= now && made_at <= now.saturating_add(SKEW)
    }

    fn iv(&self) -> [u8; 16] {
        std::array::from_fn(|at| self.0[HEAD + at])
    }

    fn ciphertext(&self) -> &[u8] {
        &self.signed()[CIPHERTEXT..]
    }

    fn signed(&self) -> &[u8] {
        &self.0[..self.0.len() - SIGNATURE]
    }

    fn signature(&self) -> &[u8] {
        &self.0[self.0.len() - SIGNATURE..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::samples::hex;
    use proptest::prelude::*;

    const SECRET: &str = "secret-key-for-tests";
    const NOW: u64 = 1_700_000_000;
    const TOKEN: &str = "gAAAAABlU_EAAAECAwQFBgcICQoLDA0OD6BY1IkNXVxHgm09jT4lC2MQ8oCxbRuUORqvzyBRLidJoKL-INo0R5OfoaoV-\
        fkmuhovWx-I8bhFphUYvU3mniY=";
    const STORED: &str = "gAAAAABrASM_cOry3I3byZbag5-SwVJaK5H1xush-SyKU4FG1l9FxsDQzqV8thGGG4Uis1lS72SVctVz1DwsmSxEA73Q_\
        Bur1k_sAExpRCU9ALiWP06sac8=";
    const PLAIN: &str = "82a474797065a174a474657874a26869";

    fn keyring(secrets: &[&str]) -> Keyring {
        Keyring::new(secrets).unwrap()
    }

    fn iv() -> [u8; 16] {
        std::array::from_fn(|at| u8::try_from(at).unwrap())
    }

    #[test]
    fn the_key_is_that_of_python() {
        let key = Key::derive(SECRET.as_bytes());
        let text = URL_SAFE.encode([key.signing, key.encryption].concat());
        assert_eq!(text, "aS10QxV_GyCW-AIdr5bBywoycQW197FMtYEcYspzXJk=");
        assert!(Keyring::new([""; 0]).is_none());
    }

    #[test]
    fn a_token_of_python_is_made_and_read() {
        let keys = keyring(&[SECRET]);
        assert_eq!(keys.encrypt(&hex(PLAIN), NOW, iv()), TOKEN);
        assert_eq!(keys.decrypt(TOKEN.as_bytes(), NOW, None), Ok(hex(PLAIN)));
    }

    #[test]
    fn a_token_of_a_real_layer_is_well_formed() {
        let token = Token::parse(STORED.as_bytes()).unwrap();
        assert_eq!(token.made_at(), Duration::from_secs(0x6b01_233f));
        assert_eq!(token.ciphertext().len() % 16, 0);
        assert_eq!(keyring(&["another"]).decrypt(STORED.as_bytes(), NOW, None), Err(Unreadable::NoKeyFits));
    }

    #[test]
    fn keys_rotate() {
        let old = keyring(&["old"]);
        let new = keyring(&["new", "older", "old"]);
        let token = old.encrypt(b"hi", NOW, iv());
        assert_eq!(new.decrypt(token.as_bytes(), NOW, None).unwrap(), b"hi");
        let token = new.encrypt(b"hi", NOW, iv());
        assert_eq!(old.decrypt(token.as_bytes(), NOW, None), Err(Unreadable::NoKeyFits));
    }

    #[test]
    fn a_ttl_bounds_age_and_skew_as_in_python() {
        let keys = keyring(&[SECRET]);
        let read = |now, ttl: Option<u64>| {
            keys.decrypt(TOKEN.as_bytes(), now, ttl.map(Duration::from_secs)).map(|_| ())
        };
        assert_eq!(read(NOW + 70, Some(70)), Ok(()));
        assert_eq!(read(NOW + 71, Some(70)), Err(Unreadable::Expired));
        assert_eq!(read(NOW - 60, Some(70)), Ok(()));
        assert_eq!(read(NOW - 61, Some(70)), Err(Unreadable::Expired));
        assert_eq!(read(0, None), Ok(()));
        assert_eq!(read(u64::MAX, None), Ok(()));
        let eternal = keys.encrypt(b"", u64::MAX, iv());
        assert_eq!(keys.decrypt(eternal.as_bytes(), NOW, Some(SKEW)), Err(Unreadable::Expired));
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let keys = keyring(&[SECRET]);
        let bytes = URL_SAFE.decode(TOKEN).unwrap();
        for at in 0..bytes.len() {
            let mut forged = bytes.clone();
            forged[at] ^= 1;
            let error = keys.decrypt(URL_SAFE.encode(forged).as_bytes(), NOW, None).unwrap_err();
            assert_eq!(error, if at == 0 { Unreadable::NotAToken } else { Unreadable::NoKeyFits });
        }
    }

    #[test]
    fn what_is_no_token_is_refused() {
        for text in ["", "gAAA", "not base64!", &TOKEN[..72], "AAAA"] {
            assert_eq!(
                keyring(&[SECRET]).decrypt(text.as_bytes(), NOW, None),
                Err(Unreadable::NotAToken),
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_plaintext_comes_back(
            plain in proptest::collection::vec(any::<u8>(), 0..100), now: u64, iv: [u8; 16], secret: String,
        ) {
            let keys = keyring(&[&secret]);
            let token = keys.encrypt(&plain, now, iv);
            prop_assert_eq!(keys.decrypt(token.as_bytes(), now, Some(SKEW)), Ok(plain));
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), now: u64) {
            let keys = keyring(&[SECRET]);
            let _ = keys.decrypt(&bytes, now, Some(SKEW));
            let token = Token([&[VERSION], &bytes[..], &[0; CIPHERTEXT + SIGNATURE]].concat());
            // Even with a good signature the ciphertext may be no whole number of blocks, or badly padded.
            let _ = keys.first.decrypt(&token);
            let _ = token.is_current(Duration::from_secs(now), SKEW);
        }
    }
}
