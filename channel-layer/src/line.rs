//! A queue that keeps its first entry in itself, since most mailboxes hold one at a time: an arrival then asks for no
//! memory.

use std::collections::VecDeque;
use std::iter::chain;

/// There is a first whenever there is a rest. It stands in front, next to what a queue looks at before.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Line<T> {
    first: Option<T>,
    rest: VecDeque<T>,
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        Self { first: None, rest: VecDeque::new() }
    }
}

impl<T> Line<T> {
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(crate) fn front(&self) -> Option<&T> {
        self.first.as_ref()
    }

    pub(crate) fn back_mut(&mut self) -> Option<&mut T> {
        self.rest.back_mut().or(self.first.as_mut())
    }

    pub(crate) fn push_back(&mut self, entry: T) {
        if self.first.is_none() {
            self.first = Some(entry);
        } else {
            self.rest.push_back(entry);
        }
    }

    pub(crate) fn push_front(&mut self, entry: T) {
        if let Some(second) = self.first.replace(entry) {
            self.rest.push_front(second);
        }
    }

    /// Takes what is in front. When no more than one is left, the memory for a burst is given back.
    pub(crate) fn pop_front(&mut self) -> Option<T> {
        let front = std::mem::replace(&mut self.first, self.rest.pop_front());
        if self.rest.is_empty() {
            self.rest = VecDeque::new();
        }
        front
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        chain(&self.first, &self.rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum Step {
        PushBack(u8),
        PushFront(u8),
        Pop,
        ChangeBack(u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            any::<u8>().prop_map(Step::PushBack),
            any::<u8>().prop_map(Step::PushFront),
            Just(Step::Pop),
            any::<u8>().prop_map(Step::ChangeBack),
        ]
    }

    proptest! {
        #[test]
        fn it_is_what_a_deque_is(steps in prop::collection::vec(step(), 0..50)) {
            let (mut line, mut model) = (Line::default(), VecDeque::new());
            for step in steps {
                match step {
                    Step::PushBack(entry) => {
                        line.push_back(entry);
                        model.push_back(entry);
                    }
                    Step::PushFront(entry) => {
                        line.push_front(entry);
                        model.push_front(entry);
                    }
                    Step::Pop => prop_assert_eq!(line.pop_front(), model.pop_front()),
                    Step::ChangeBack(entry) => {
                        prop_assert_eq!(line.back_mut().map(|back| *back = entry), model.back_mut().map(|back| *back = entry));
                    }
                }
                prop_assert_eq!(line.front(), model.front());
                prop_assert_eq!(line.is_empty(), model.is_empty());
                prop_assert!(line.iter().eq(&model));
            }
        }
    }

    #[test]
    fn one_entry_needs_no_memory_and_a_burst_gives_it_back() {
        let mut line = Line::default();
        line.push_back(1);
        assert_eq!(line.rest.capacity(), 0);
        line.push_back(2);
        line.pop_front();
        assert_eq!((line.rest.capacity(), line.pop_front()), (0, Some(2)));
    }
}
