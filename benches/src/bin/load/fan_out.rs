//! One publisher and many subscribers.

use std::iter::repeat_n;
use std::time::{Duration, Instant};

use benches::{TEXT, encode_masked};

use crate::Failure;
use crate::fleet::{Fleet, WAIT};
use crate::message::Writer;
use crate::meter::{Measurement, Meter, usage};
use crate::options::{FanOut, Pace};
use crate::report::Report;

const NANOS: u128 = 1_000_000_000;

/// Opens the connections, sends one message to prove that it reaches them all, and measures.
pub(crate) fn run(options: &FanOut, mut tell: impl FnMut(Report)) -> Result<(), Failure> {
    let before = usage(&options.target)?;
    let mut fleet = Fleet::new(&options.target)?;
    fleet.open(repeat_n(&*options.path, options.subs + 1))?;
    let opened = before.zip(usage(&options.target)?).map(|(before, after)| [before, after]);
    let mut publisher = Publisher {
        place: options.subs,
        subs: options.subs as u64,
        writer: Writer::new(options.sending.payload, &options.sending.publish),
    };
    publisher.prove(options, &mut fleet)?;
    for _ in 0..options.sending.repeat {
        tell(publisher.measure(options, &mut fleet)?.with_connections(opened));
    }
    Ok(())
}

struct Publisher {
    place: usize,
    subs: u64,
    writer: Writer,
}

impl Publisher {
    fn prove(&mut self, options: &FanOut, fleet: &mut Fleet) -> Result<(), Failure> {
        let mut meter = Meter::new();
        let deadline = Instant::now() + options.target.patience();
        self.publish(fleet, 1);
        while meter.delivered < self.subs {
            self.pump(fleet, &mut meter, WAIT)?;
            if Instant::now() > deadline {
                return Err(format!("the first message reached {} of {}", meter.delivered, self.subs).into());
            }
        }
        fleet.settle()
    }

    fn measure(&mut self, options: &FanOut, fleet: &mut Fleet) -> Result<Report, Failure> {
        let mut meter = Meter::in_order(options.subs);
        let due = options.sending.msgs * self.subs;
        let measurement = Measurement::begin(&options.target)?;
        let began = Instant::now();
        let mut sent = 0;
        while meter.delivered < due && !measurement.is_late(&options.target) && fleet.is_open(self.place) {
            let everywhere = meter.delivered / self.subs;
            let (may, wait) = next(&options.pace, began.elapsed(), everywhere, sent);
            let now = may.min(options.sending.msgs).saturating_sub(sent);
            self.publish(fleet, now);
            sent += now;
            self.pump(fleet, &mut meter, wait)?;
        }
        measurement.end(&options.target, fleet, &meter, due)
    }

    /// Sends so many messages, in one write.
    fn publish(&mut self, fleet: &mut Fleet, count: u64) {
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

    /// Notes what comes to the subscribers; the publisher hears its own messages too, which do not count.
    fn pump(&self, fleet: &mut Fleet, meter: &mut Meter, wait: Duration) -> Result<(), Failure> {
        fleet.pump(wait, |place, heard| {
            if place != self.place {
                meter.note(place, &heard, &self.writer);
            }
        })
    }
}

/// How many messages may have been sent by now, and how long to wait before asking again.
fn next(pace: &Pace, elapsed: Duration, everywhere: u64, sent: u64) -> (u64, Duration) {
    let Some(rate) = pace.rate else { return (everywhere + pace.window, WAIT) };
    let rate = u128::from(rate.max(1));
    let due = elapsed.as_nanos() * rate / NANOS;
    let may = u64::try_from(due).unwrap_or(u64::MAX).max(sent);
    let next_at = u64::try_from((u128::from(may) + 1) * NANOS / rate).unwrap_or(u64::MAX);
    (may, Duration::from_nanos(next_at).saturating_sub(elapsed).min(WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_lets_so_many_be_on_their_way() {
        let pace = Pace { window: 16, rate: None };
        assert_eq!(next(&pace, Duration::ZERO, 0, 0).0, 16);
        assert_eq!(next(&pace, Duration::ZERO, 3, 16).0, 19);
    }

    #[test]
    fn a_rate_is_kept_and_never_taken_back() {
        let pace = Pace { window: 1, rate: Some(1000) };
        let at = |micros, sent| next(&pace, Duration::from_micros(micros), 0, sent);
        assert_eq!(at(0, 0), (0, Duration::from_millis(1)));
        assert_eq!(at(1500, 0), (1, Duration::from_micros(500)));
        assert_eq!(at(1500, 2), (2, Duration::from_micros(1500)));
        assert_eq!(at(10_000_000, 0).0, 10_000);
    }
}
