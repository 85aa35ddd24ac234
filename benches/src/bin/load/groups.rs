//! Many small groups, to which random members of them send.

use crate::Failure;
use crate::fleet::{Fleet, WAIT};
use crate::message::Writer;
use crate::meter::{Measurement, Meter, usage};
use crate::options::Groups;
use crate::report::Report;

/// Opens the connections, group by group, sends once to each group to prove that it hears, and measures.
pub(crate) fn run(options: &Groups, mut tell: impl FnMut(Report)) -> Result<(), Failure> {
    let before = usage(&options.target)?;
    let mut fleet = Fleet::new(&options.target)?;
    let paths: Vec<String> =
        (0..options.groups).map(|group| options.path.replace("{n}", &group.to_string())).collect();
    fleet.open(paths.iter().flat_map(|path| std::iter::repeat_n(&**path, options.members)))?;
    let opened = before.zip(usage(&options.target)?).map(|(before, after)| [before, after]);
    let mut groups = Sender {
        options,
        writer: Writer::new(options.sending.payload, &options.sending.publish),
        random: Random(0x9e37_79b9),
    };
    let proof = groups.measure(&mut fleet, options.groups as u64)?;
    if proof.delivered != proof.due {
        return Err(format!("the first messages reached {} of {}", proof.delivered, proof.due).into());
    }
    for _ in 0..options.sending.repeat {
        tell(groups.measure(&mut fleet, options.sending.msgs)?.with_connections(opened));
    }
    Ok(())
}

struct Sender<'a> {
    options: &'a Groups,
    writer: Writer,
    random: Random,
}

impl Sender<'_> {
    fn measure(&mut self, fleet: &mut Fleet, msgs: u64) -> Result<Report, Failure> {
        let Groups { target, members, window, .. } = self.options;
        let mut meter = Meter::new();
        let members = *members as u64;
        let (mut sent, mut text) = (0, Vec::new());
        let measurement = Measurement::begin(target)?;
        while meter.delivered < msgs * members && !measurement.is_late(target) {
            while sent < msgs.min(meter.delivered / members + window) {
                text.clear();
                self.writer.write(&mut text);
                fleet.send_text(self.random.below(fleet.len()), &text);
                sent += 1;
            }
            fleet.pump(WAIT, |place, heard| {
                meter.note(place, &heard, &self.writer);
            })?;
        }
        measurement.end(target, fleet, &meter, msgs * members)
    }
}

/// Random enough to choose who sends, and the same in every run: xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit.max(1) as u64).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_is_chosen_about_as_often() {
        let mut random = Random(1);
        let mut chosen = [0; 10];
        (0..10_000).for_each(|_| chosen[random.below(10)] += 1);
        assert!(chosen.iter().all(|times| (800..1200).contains(times)), "{chosen:?}");
    }
}
