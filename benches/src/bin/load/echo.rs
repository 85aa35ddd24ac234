//! Connections that each send a message, wait until it comes back, and send the next.

use std::iter::repeat_n;

use crate::Failure;
use crate::fleet::{Fleet, Place, WAIT};
use crate::message::Writer;
use crate::meter::{Measurement, Meter, usage};
use crate::options::Echo;
use crate::report::Report;

/// Opens the connections, sends a few messages to warm up, and measures round trips.
pub(crate) fn run(options: &Echo, mut tell: impl FnMut(Report)) -> Result<(), Failure> {
    let before = usage(&options.target)?;
    let mut fleet = Fleet::new(&options.target)?;
    fleet.open(repeat_n(&*options.path, options.subs))?;
    let opened = before.zip(usage(&options.target)?).map(|(before, after)| [before, after]);
    let mut writer = Writer::new(options.sending.payload, &options.sending.publish);
    measure(options, &mut fleet, &mut writer, 10)?;
    for _ in 0..options.sending.repeat {
        tell(measure(options, &mut fleet, &mut writer, options.sending.msgs)?.with_connections(opened));
    }
    Ok(())
}

fn measure(options: &Echo, fleet: &mut Fleet, writer: &mut Writer, msgs: u64) -> Result<Report, Failure> {
    let mut meter = Meter::new();
    let mut left = vec![msgs; options.subs];
    let due = msgs * options.subs as u64;
    let measurement = Measurement::begin(&options.target)?;
    let mut free: Vec<Place> = (0..options.subs).collect();
    let mut text = Vec::new();
    while meter.delivered < due && !measurement.is_late(&options.target) {
        for place in free.drain(..).filter(|place| left[*place] > 0).collect::<Vec<_>>() {
            left[place] -= 1;
            text.clear();
            writer.write(&mut text);
            fleet.send_text(place, &text);
        }
        fleet.pump(WAIT, |place, heard| {
            if meter.note(place, &heard, writer) {
                free.push(place);
            }
        })?;
    }
    measurement.end(&options.target, fleet, &meter, due)
}
