//! The names of channels and groups: one grammar, checked once, cheap to clone.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest name in characters, as in Channels, which demands fewer than 100.
pub const NAME_LIMIT: usize = 99;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{kind} name {name:?} is not valid: use 1 to {NAME_LIMIT} ASCII letters, digits, hyphens, \
     underscores or periods{exclamation}"
)]
pub struct InvalidName {
    kind: &'static str,
    name: String,
    exclamation: &'static str,
}

/// The name of a channel: 1 to [`NAME_LIMIT`] ASCII letters, digits, `-`, `_` or `.`.
///
/// A name with one `!` in it is *process-specific*: the part up to and including the `!` says which process
/// receives it, the rest which mailbox there. This is the grammar of Django Channels less its accidents (Python
/// also lets non-ASCII digits and a trailing newline pass).
///
/// ```
/// use channel_layer::ChannelName;
/// let name = ChannelName::new("specific.a1b2!c3")?;
/// assert!(name.is_process_specific());
/// assert_eq!(name.non_local(), "specific.a1b2!");
/// assert!(ChannelName::new("no spaces").is_err());
/// # Ok::<(), channel_layer::InvalidName>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelName(Arc<str>);

impl ChannelName {
    /// Checks a text against the grammar.
    pub fn new(name: impl AsRef<str>) -> Result<Self, InvalidName> {
        let name = name.as_ref();
        let (remote, local) = name.split_once('!').unwrap_or((name, ""));
        if is_word(remote) && (local.is_empty() || is_word(local)) && name.len() <= NAME_LIMIT {
            return Ok(Self(name.into()));
        }
        Err(InvalidName {
            kind: "channel",
            name: excerpt(name),
            exclamation: ", with at most one `!` after the first part",
        })
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether one process, and one mailbox in it, is meant: the name has a `!`.
    #[must_use]
    pub fn is_process_specific(&self) -> bool {
        self.0.contains('!')
    }

    /// The name up to and including its `!`, or all of it when it has none.
    #[must_use]
    pub fn non_local(&self) -> &str {
        self.0.find('!').map_or(&self.0, |at| &self.0[..=at])
    }
}

/// The name of a group: 1 to [`NAME_LIMIT`] ASCII letters, digits, `-`, `_` or `.`; never a `!`.
///
/// ```
/// use channel_layer::GroupName;
/// assert_eq!(GroupName::new("chat.lobby")?.as_str(), "chat.lobby");
/// # Ok::<(), channel_layer::InvalidName>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupName(Arc<str>);

impl GroupName {
    /// Checks a text against the grammar.
    pub fn new(name: impl AsRef<str>) -> Result<Self, InvalidName> {
        let name = name.as_ref();
        if is_word(name) && name.len() <= NAME_LIMIT {
            return Ok(Self(name.into()));
        }
        Err(InvalidName { kind: "group", name: excerpt(name), exclamation: "" })
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Writes the traits by which a name is shown, and told to others, since both kinds are a text.
macro_rules! shown_as_text {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            /// A text that is no name is an error.
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let name = <Cow<'de, str>>::deserialize(deserializer)?;
                Self::new(name).map_err(serde::de::Error::custom)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

shown_as_text!(ChannelName);
shown_as_text!(GroupName);

/// A refused name may be hostile and long: an error shows only its beginning.
fn excerpt(name: &str) -> String {
    name.chars().take(NAME_LIMIT + 1).collect()
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channel_names_follow_the_grammar() {
        for name in ["a", "A-_.9", "a!", "a!b", "chat", &"x".repeat(99), &format!("a!{}", "b".repeat(97))] {
            assert_eq!(ChannelName::new(name).unwrap().as_str(), name);
        }
        let long = "x".repeat(100);
        for name in [
            "",
            "!b",
            "a!b!c",
            "a b",
            "a?",
            "a:b",
            "a/b",
            "a+",
            "a@b",
            "é",
            "a!é",
            "٣",
            "abc\n",
            "¯\\_(ツ)_/¯",
            &long,
        ] {
            assert!(ChannelName::new(name).is_err(), "{name:?} must be refused");
        }
    }

    #[test]
    fn group_names_have_no_exclamation_mark() {
        assert!(GroupName::new("chat.lobby-1_2").is_ok());
        for name in ["", "a!b", "a!", "a b", &"x".repeat(100)] {
            assert!(GroupName::new(name).is_err(), "{name:?} must be refused");
        }
    }

    #[test]
    fn the_error_says_what_is_allowed_and_shows_little_of_the_name() {
        let error = GroupName::new("é".repeat(5000)).unwrap_err().to_string();
        assert!(error.contains("1 to 99 ASCII letters"), "{error}");
        assert!(error.len() < 500);
    }

    #[test]
    fn the_non_local_part_ends_at_the_exclamation_mark() {
        assert_eq!(ChannelName::new("plain").unwrap().non_local(), "plain");
        assert_eq!(ChannelName::new("a.b!c").unwrap().non_local(), "a.b!");
    }
}
