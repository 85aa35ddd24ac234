//! What is noted while messages come, and the report that it comes to.

use std::time::Instant;

use crate::Failure;
use crate::connection::Heard;
use crate::fleet::{Fleet, Place};
use crate::latencies::Latencies;
use crate::message::{Message, Writer};
use crate::options::Target;
use crate::process::Usage;
use crate::report::Report;

/// Of so many connections one is looked at closely: to do so with all would cost the generator more than reading.
const LOOKED_AT: usize = 8;

/// Counts what comes.
pub(crate) struct Meter {
    pub(crate) delivered: u64,
    pub(crate) latencies: Latencies,
    out_of_order: u64,
    /// The newest number that has come, of each connection that is looked at; none where senders are many.
    newest: Option<Vec<u64>>,
}

impl Meter {
    pub(crate) fn new() -> Self {
        Self { delivered: 0, latencies: Latencies::new(), out_of_order: 0, newest: None }
    }

    /// Watches the order too, where every message has the same sender.
    pub(crate) fn in_order(connections: usize) -> Self {
        Self { newest: Some(vec![0; connections / LOOKED_AT + 1]), ..Self::new() }
    }

    /// How many came before an earlier one, if that was watched.
    fn out_of_order(&self) -> Option<u64> {
        self.newest.is_some().then_some(self.out_of_order)
    }

    /// Notes a message; whether it was one.
    pub(crate) fn note(&mut self, place: Place, heard: &Heard<'_>, clock: &Writer) -> bool {
        let Heard::Data(payload) = heard else { return false };
        let Some(message) = Message::find(payload) else { return false };
        self.delivered += 1;
        if place.is_multiple_of(LOOKED_AT) {
            self.latencies.note(clock.now().saturating_sub(message.sent()));
            if let Some(newest) = &mut self.newest {
                let newest = &mut newest[place / LOOKED_AT];
                self.out_of_order += u64::from(message.number() <= *newest);
                *newest = message.number();
            }
        }
        true
    }
}

/// A measurement that goes on.
pub(crate) struct Measurement {
    began: Instant,
    server: Option<Usage>,
    between: Option<Usage>,
    own: Usage,
}

impl Measurement {
    pub(crate) fn begin(target: &Target) -> Result<Self, Failure> {
        let (server, between, own) = (usage(target)?, used(&target.between)?, Usage::own()?);
        Ok(Self { server, between, own, began: Instant::now() })
    }

    /// Whether it has taken longer than it may.
    pub(crate) fn is_late(&self, target: &Target) -> bool {
        self.began.elapsed() > target.patience()
    }

    /// What was found, with so many deliveries due.
    pub(crate) fn end(
        self,
        target: &Target,
        fleet: &Fleet,
        meter: &Meter,
        due: u64,
    ) -> Result<Report, Failure> {
        let seconds = self.began.elapsed().as_secs_f64();
        let (server, between, own) = (usage(target)?, used(&target.between)?, Usage::own()?);
        let report = Report {
            name: target.name.clone(),
            connections: fleet.len(),
            delivered: meter.delivered,
            due,
            seconds,
            closed: fleet.closed(),
            out_of_order: meter.out_of_order(),
            ..Report::default()
        };
        let server = self.server.zip(server).map(|(before, after)| [before, after]);
        let between = self.between.zip(between).map(|(before, after)| [before, after]);
        Ok(report.with_cost(server, [self.own, own]).with_between(between).with_latencies(&meter.latencies))
    }
}

/// What the server has used, when it was said which processes it is.
pub(crate) fn usage(target: &Target) -> Result<Option<Usage>, Failure> {
    used(&target.pids)
}

fn used(pids: &[u32]) -> Result<Option<Usage>, Failure> {
    if pids.is_empty() { Ok(None) } else { Usage::of(pids).map(Some) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_and_their_order_is_watched() {
        let mut writer = Writer::new(64, "%P%");
        let mut message = || {
            let mut out = Vec::new();
            writer.write(&mut out);
            out
        };
        let (first, second) = (message(), message());
        let mut meter = Meter::in_order(9);
        for (place, payload) in
            [(0, &first), (0, &second), (8, &second), (8, &first), (1, &second), (1, &first)]
        {
            assert!(meter.note(place, &Heard::Data(payload), &writer));
        }
        assert_eq!(Meter::new().out_of_order(), None);
        assert!(!meter.note(0, &Heard::Data(b"hello"), &writer));
        assert_eq!((meter.delivered, meter.out_of_order()), (6, Some(1)));
    }
}
