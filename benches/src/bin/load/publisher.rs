//! The connection that sends.

use benches::{TEXT, encode_masked};

use crate::fleet::{Fleet, Place};
use crate::message::Writer;

pub(crate) struct Publisher {
    pub(crate) place: Place,
    pub(crate) writer: Writer,
}

impl Publisher {
    /// The connection at this place sends.
    pub(crate) fn new(place: Place, writer: Writer) -> Self {
        Self { place, writer }
    }

    /// Sends so many messages, in one write.
    pub(crate) fn publish(&mut self, fleet: &mut Fleet, count: u64) {
        let (mut text, mut frames) = (Vec::new(), Vec::new());
        for _ in 0..count {
            text.clear();
            self.writer.write(&mut text);
            encode_masked(TEXT, &text, &mut frames);
        }
        if count > 0 {
            fleet.send(self.place, &frames);
        }
    }
}
