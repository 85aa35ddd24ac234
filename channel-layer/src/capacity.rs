//! How many unread messages a channel holds, by the pattern of its name.

use glob::Pattern;

use crate::ChannelName;

/// A capacity pattern that is not a glob.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("capacity pattern {pattern:?} is not a glob: {reason}")]
pub struct InvalidPattern {
    pattern: String,
    reason: &'static str,
}

/// Capacities in messages: a default, and exceptions by glob, of which the first that matches the *full* channel
/// name wins, as `channel_capacity` does in Channels.
///
/// `*` stands for any characters, `?` for one, `[abc]` and `[!abc]` for one of a set; case counts and the whole
/// name must match.
///
/// ```
/// use channel_layer::{Capacities, ChannelName};
/// let capacities = Capacities::new(100).with("http.response!*", 10)?.with("http.*", 50)?;
/// assert_eq!(capacities.of(&ChannelName::new("http.response!abc")?), 10);
/// assert_eq!(capacities.of(&ChannelName::new("http.request")?), 50);
/// assert_eq!(capacities.of(&ChannelName::new("chat")?), 100);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Capacities {
    default: usize,
    patterns: Vec<(Pattern, usize)>,
}

impl Capacities {
    /// Every channel holds `default` unread messages; at least one.
    #[must_use]
    pub fn new(default: usize) -> Self {
        Self { default: default.max(1), patterns: Vec::new() }
    }

    /// Channels that match `pattern`, and no pattern given before, hold `capacity` messages; at least one.
    pub fn with(mut self, pattern: &str, capacity: usize) -> Result<Self, InvalidPattern> {
        let parsed = Pattern::new(&one_star(pattern))
            .map_err(|error| InvalidPattern { pattern: pattern.to_owned(), reason: error.msg })?;
        self.patterns.push((parsed, capacity.max(1)));
        Ok(self)
    }

    /// The capacity of every channel, when there are no exceptions.
    pub(crate) fn uniform(&self) -> Option<usize> {
        self.patterns.is_empty().then_some(self.default)
    }

    /// The capacity of one channel, in messages.
    #[must_use]
    pub fn of(&self, channel: &ChannelName) -> usize {
        let exception = self.patterns.iter().find(|(pattern, _)| pattern.matches(channel.as_str()));
        exception.map_or(self.default, |(_, capacity)| *capacity)
    }
}

impl Default for Capacities {
    /// 100 messages for every channel, as in Channels.
    fn default() -> Self {
        Self::new(100)
    }
}

/// Runs of stars mean one star in a channel's name, but a folder tree to the glob library.
fn one_star(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    for c in pattern.chars() {
        if c != '*' || !out.ends_with('*') {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capacity(pattern: &str, name: &str) -> usize {
        Capacities::new(100).with(pattern, 1).unwrap().of(&ChannelName::new(name).unwrap())
    }

    #[test]
    fn globs_match_whole_names_as_fnmatch_does() {
        for (pattern, name) in [
            ("http.response!*", "http.response!"),
            ("http.response!*", "http.response!abc"),
            ("a[bc]?", "abz"),
            ("a[bc]?", "acz"),
            ("spec*", "specific.x!y"),
            ("a**z", "abcz"),
        ] {
            assert_eq!(capacity(pattern, name), 1, "{pattern} must match {name}");
        }
        for (pattern, name) in
            [("a[bc]?", "aBz"), ("a[bc]?", "adz"), ("spec", "specific"), ("spec*", "aspec")]
        {
            assert_eq!(capacity(pattern, name), 100, "{pattern} must not match {name}");
        }
    }

    #[test]
    fn the_first_match_wins() {
        let capacities = Capacities::new(9).with("a*", 1).unwrap().with("ab*", 2).unwrap();
        assert_eq!(capacities.of(&ChannelName::new("abc").unwrap()), 1);
    }

    #[test]
    fn a_broken_pattern_is_refused_by_name() {
        let error = Capacities::new(1).with("a[b", 1).unwrap_err();
        assert!(error.to_string().contains("a[b"), "{error}");
    }

    #[test]
    fn no_channel_has_no_room_at_all() {
        assert_eq!(Capacities::new(0).of(&ChannelName::new("a").unwrap()), 1);
    }
}
