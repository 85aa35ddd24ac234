//! What a connection should have got and did not: told by the server, or lost without a word.

/// The numbers that a connection has got since it was opened. What was sent before its first is none of its business, unless
/// it is known since when it should have heard all.
#[derive(Debug, Default)]
pub(crate) struct Gaps {
    /// What was the newest when it was opened.
    since: Option<u64>,
    newest: Option<u64>,
    lost: u64,
    told: u64,
    /// The server said that it does not know how many.
    told_unknown: bool,
}

/// What lives of connections have come to.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Losses {
    pub(crate) told: u64,
    pub(crate) untold: u64,
}

impl Losses {
    pub(crate) fn add(&mut self, other: Self) {
        self.told += other.told;
        self.untold += other.untold;
    }
}

impl Gaps {
    /// Those of a connection that should get all that comes after this number.
    pub(crate) fn since(number: u64) -> Self {
        Self { since: Some(number), ..Self::default() }
    }

    /// A message has come; whether in order.
    pub(crate) fn note(&mut self, number: u64) -> bool {
        let Some(newest) = self.newest.replace(number) else {
            // One that was under way when the connection was opened may still come.
            self.lost += self.since.map_or(0, |since| number.saturating_sub(since + 1));
            return true;
        };
        self.lost += number.saturating_sub(newest + 1);
        if number <= newest {
            self.newest = Some(newest);
        }
        number > newest
    }

    /// A text has come that is no message: `missed 5`, or `missed` and words, where the server does not know.
    pub(crate) fn told(&mut self, text: &[u8]) {
        let Some(count) = std::str::from_utf8(text).ok().and_then(|text| text.strip_prefix("missed ")) else {
            return;
        };
        match count.parse::<u64>() {
            Ok(count) => self.told += count,
            Err(_) => self.told_unknown = true,
        }
    }

    /// The connection has ended, or begins anew: what it has lost until then. A close is a word, so what would have come
    /// after it is not lost.
    pub(crate) fn settle(&mut self) -> Losses {
        std::mem::take(self).so_far()
    }

    /// What it has lost until now. A loss may be told a moment after it is seen.
    pub(crate) fn so_far(&self) -> Losses {
        let told = if self.told_unknown { self.lost } else { self.lost.min(self.told) };
        Losses { told, untold: self.lost - told }
    }

    /// Whether a connection of which it is known what it should get has got everything up to this number.
    pub(crate) fn is_at(&self, number: u64) -> bool {
        self.newest.or(self.since).is_none_or(|newest| newest >= number)
    }

    /// Whether it is, or would be but for what it was told that it has lost behind the newest.
    pub(crate) fn awaits_nothing(&self, number: u64) -> bool {
        self.is_at(number.saturating_sub(self.told.saturating_sub(self.lost)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(numbers: &[u64]) -> Gaps {
        let mut gaps = Gaps::default();
        numbers.iter().for_each(|number| assert!(gaps.note(*number)));
        gaps
    }

    #[test]
    fn what_came_in_order_is_no_loss() {
        assert_eq!(after(&[5, 6, 7]).settle(), Losses::default());
        assert_eq!(Gaps::default().settle(), Losses::default());
    }

    #[test]
    fn a_gap_is_untold_until_it_is_told() {
        let mut gaps = after(&[5, 9]);
        gaps.told(b"missed 2");
        assert_eq!(gaps.settle(), Losses { told: 2, untold: 1 });
        assert_eq!(gaps.settle(), Losses::default(), "a new life begins without losses");
        let mut gaps = after(&[5, 9]);
        gaps.told(b"missed an unknown number of");
        gaps.told(b"hello");
        assert_eq!(gaps.settle(), Losses { told: 3, untold: 0 });
    }

    #[test]
    fn what_should_have_been_heard_first_is_lost_too() {
        let lost = |gaps: &mut Gaps| gaps.settle().untold;
        let mut late = Gaps::since(5);
        assert!(late.is_at(5) && !late.is_at(6) && late.note(9));
        assert_eq!(lost(&mut late), 3);
        let mut early = Gaps::since(5);
        assert!(early.note(5) && early.note(6));
        assert_eq!(lost(&mut early), 0);
        let mut deaf = Gaps::since(5);
        deaf.note(8 + 1);
        assert_eq!(lost(&mut deaf), 3, "of 6, 7 and 8");
    }

    #[test]
    fn an_earlier_number_is_out_of_order_and_no_gap() {
        let mut gaps = after(&[5, 6]);
        assert!(!gaps.note(5));
        assert!(gaps.is_at(6) && !gaps.is_at(7));
        assert_eq!(gaps.settle(), Losses::default());
    }

    #[test]
    fn what_was_told_to_be_lost_is_not_awaited() {
        let mut gaps = after(&[1, 2, 4]);
        gaps.told(b"missed 1");
        assert!(gaps.awaits_nothing(4) && !gaps.awaits_nothing(5));
        gaps.told(b"missed 2");
        assert!(gaps.awaits_nothing(6) && !gaps.awaits_nothing(7) && !gaps.is_at(6));
    }
}
