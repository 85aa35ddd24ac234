//! One publisher and many subscribers.

use std::iter::repeat_n;
use std::time::{Duration, Instant};

use crate::Failure;
use crate::fleet::{Fleet, WAIT};
use crate::message::Writer;
use crate::meter::{Measurement, Meter, usage};
use crate::options::FanOut;
use crate::publisher::Publisher;
use crate::report::Report;

/// Opens the connections, sends one message to prove that it reaches them all, and measures.
pub(crate) fn run(options: &FanOut, mut tell: impl FnMut(Report)) -> Result<(), Failure> {
    let before = usage(&options.target)?;
    let mut fleet = Fleet::new(&options.target)?;
    fleet.open(repeat_n(&*options.path, options.subs + 1))?;
    let opened = before.zip(usage(&options.target)?).map(|(before, after)| [before, after]);
    let writer = Writer::new(options.sending.payload, &options.sending.publish);
    let mut run = Run { publisher: Publisher::new(options.subs, writer), subs: options.subs as u64 };
    run.prove(options, &mut fleet)?;
    for _ in 0..options.sending.repeat {
        tell(run.measure(options, &mut fleet)?.with_connections(opened));
    }
    Ok(())
}

struct Run {
    publisher: Publisher,
    subs: u64,
}

impl Run {
    fn prove(&mut self, options: &FanOut, fleet: &mut Fleet) -> Result<(), Failure> {
        let mut meter = Meter::new();
        let deadline = Instant::now() + options.target.patience();
        self.publisher.publish(fleet, 1);
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
        while meter.delivered < due
            && !measurement.is_late(&options.target)
            && fleet.is_open(self.publisher.place)
        {
            let everywhere = meter.delivered / self.subs;
            let (may, wait) = options.pace.next(began.elapsed(), everywhere, sent);
            let now = may.min(options.sending.msgs).saturating_sub(sent);
            self.publisher.publish(fleet, now);
            sent += now;
            self.pump(fleet, &mut meter, wait)?;
        }
        measurement.end(&options.target, fleet, &meter, due)
    }

    /// Notes what comes to the subscribers; the publisher hears its own messages too, which do not count.
    fn pump(&self, fleet: &mut Fleet, meter: &mut Meter, wait: Duration) -> Result<(), Failure> {
        fleet.pump(wait, |place, heard| {
            if place != self.publisher.place {
                meter.note(place, &heard, &self.publisher.writer);
            }
        })
    }
}
