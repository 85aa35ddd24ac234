//! Workloads that last: a publisher keeps its pace while subscribers come and go, and some of them stop reading.

use std::iter::repeat_n;
use std::time::{Duration, Instant};

use benches::{CLOSE, encode_masked};

use crate::Failure;
use crate::connection::Heard;
use crate::fleet::{Fleet, Place, WAIT};
use crate::gaps::{Gaps, Losses};
use crate::latencies::Latencies;
use crate::message::{Message, Writer};
use crate::meter::usage;
use crate::options::Live;
use crate::pace::by_clock;
use crate::process::Usage;
use crate::publisher::Publisher;
use crate::report::{Report, Unrest};

/// Of so many subscribers the latency of one is noted.
const LOOKED_AT: usize = 8;
/// How long a slow subscriber reads before it stops again: long enough to get through what waits for it in the kernel.
const READS_FOR: Duration = Duration::from_secs(8);
/// How long nothing may come at the end. A slow subscriber gets the megabytes that the kernel holds for it a few segments
/// at a time, with up to two minutes between two looks at whether it reads again.
const QUIET: Duration = Duration::from_secs(120);

/// Opens the connections and keeps them busy; `shares` are the percents that reconnect each second and that are slow.
pub(crate) fn run(
    options: &Live,
    (churn, slow): (u64, u64),
    mut tell: impl FnMut(Report),
) -> Result<(), Failure> {
    let mut fleet = Fleet::new(&options.target)?;
    if slow > 0 {
        fleet.leave_little_room();
    }
    fleet.open(repeat_n(&*options.path, options.subs + 1))?;
    let publisher = Publisher::new(options.subs, Writer::new(options.payload, &options.publish));
    let slow = slow_places(options.subs, slow);
    let seen = Seen::new(options.subs, options.target.sub.is_empty());
    let live = LiveRun { options, fleet, publisher, churn, slow, seen };
    tell(live.run()?);
    Ok(())
}

/// Every so manieth place.
fn slow_places(subs: usize, percent: u64) -> Vec<Slow> {
    let percent = usize::try_from(percent).unwrap_or(0);
    let is_slow = |place: &Place| (place + 1) * percent / 100 > place * percent / 100;
    (0..subs).filter(is_slow).map(|place| Slow { place, reads: true, until: Instant::now() }).collect()
}

/// A subscriber that stops reading for a time, reads for a moment, and stops again.
struct Slow {
    place: Place,
    reads: bool,
    until: Instant,
}

/// What has come, and what has not.
struct Seen {
    gaps: Vec<Gaps>,
    /// A server that wants no greeting owes a connection what is sent from its handshake on.
    is_heard_at_once: bool,
    is_slow: Vec<bool>,
    opened: Vec<Place>,
    /// Closed by the server.
    closed: Vec<Place>,
    closes: usize,
    /// How many of these with 1013.
    closes_1013: usize,
    losses: Losses,
    delivered: u64,
    out_of_order: u64,
    latest: Latencies,
}

impl Seen {
    fn new(subs: usize, is_heard_at_once: bool) -> Self {
        let begun = || if is_heard_at_once { Gaps::since(0) } else { Gaps::default() };
        Self {
            gaps: (0..subs).map(|_| begun()).collect(),
            is_heard_at_once,
            is_slow: vec![false; subs],
            opened: Vec::new(),
            closed: Vec::new(),
            closes: 0,
            closes_1013: 0,
            losses: Losses::default(),
            delivered: 0,
            out_of_order: 0,
            latest: Latencies::new(),
        }
    }

    fn note(&mut self, place: Place, heard: &Heard<'_>, clock: &Writer) {
        let Some(gaps) = self.gaps.get_mut(place) else { return };
        match heard {
            Heard::Opened => {
                if self.is_heard_at_once {
                    *gaps = Gaps::since(clock.newest());
                }
                self.opened.push(place);
            }
            Heard::Closed(code) => {
                self.closes_1013 += usize::from(*code == Some(1013));
                self.closed.push(place);
            }
            Heard::Refused(_) => self.closed.push(place),
            Heard::Data(payload) => match Message::find(payload) {
                None => gaps.told(payload),
                Some(message) => {
                    self.delivered += 1;
                    self.out_of_order += u64::from(!gaps.note(message.number()));
                    if place.is_multiple_of(LOOKED_AT) && !self.is_slow[place] {
                        self.latest.note(clock.now().saturating_sub(message.sent()));
                    }
                }
            },
        }
    }

    fn losses_so_far(&self) -> Losses {
        let mut losses = self.losses;
        self.gaps.iter().for_each(|gaps| losses.add(gaps.so_far()));
        losses
    }

    fn settle(&mut self, place: Place) {
        self.losses.add(self.gaps[place].settle());
    }
}

struct LiveRun<'a> {
    options: &'a Live,
    fleet: Fleet,
    publisher: Publisher,
    churn: u64,
    slow: Vec<Slow>,
    seen: Seen,
}

impl LiveRun<'_> {
    fn run(mut self) -> Result<Report, Failure> {
        let lasts = Duration::from_secs(self.options.seconds);
        let sample = Duration::from_secs(self.options.sample.max(1));
        let (server, own) = (usage(&self.options.target)?, Usage::own()?);
        let began = Instant::now();
        self.fall_asleep(began);
        let (mut sent, mut reconnected, mut all) = (0, 0, Latencies::new());
        let mut next_sample = sample;
        while began.elapsed() < lasts && self.fleet.is_open(self.publisher.place) {
            let (may, wait) = by_clock(self.options.rate, began.elapsed(), sent);
            self.publisher.publish(&mut self.fleet, may - sent);
            sent = may;
            self.pump(wait)?;
            self.reconnect(began.elapsed(), &mut reconnected)?;
            self.take_turns()?;
            if began.elapsed() >= next_sample {
                self.sample(next_sample, reconnected)?;
                all.add(&self.seen.latest);
                self.seen.latest.clear();
                next_sample += sample;
            }
        }
        let seconds = began.elapsed().as_secs_f64();
        let used = server.zip(usage(&self.options.target)?).map(|(before, after)| [before, after]);
        let own = [own, Usage::own()?];
        all.add(&self.seen.latest);
        self.hear_the_last()?;
        Ok(self.report(seconds, reconnected).with_cost(used, own).with_latencies(&all))
    }

    /// Hears what has come, greets servers of new connections, and opens those again that the server has closed.
    fn pump(&mut self, wait: Duration) -> Result<(), Failure> {
        let Self { fleet, publisher, seen, .. } = self;
        fleet.pump(wait, |place, heard| seen.note(place, &heard, &publisher.writer))?;
        for place in self.seen.opened.drain(..) {
            for greeting in &self.options.target.sub {
                self.fleet.send_text(place, greeting.as_bytes());
            }
        }
        for place in std::mem::take(&mut self.seen.closed) {
            self.seen.closes += 1;
            self.seen.settle(place);
            self.fleet.reopen(place, &self.options.path)?;
        }
        Ok(())
    }

    /// Closes as many connections as are due, one after the other, each second one with a word.
    fn reconnect(&mut self, elapsed: Duration, reconnected: &mut u64) -> Result<(), Failure> {
        let subs = self.options.subs as u64;
        let (due, _) = by_clock((subs * self.churn / 100).max(1), elapsed, *reconnected);
        if self.churn == 0 {
            return Ok(());
        }
        while *reconnected < due {
            let place = usize::try_from(*reconnected % subs)?;
            *reconnected += 1;
            if self.seen.is_slow[place] || !self.fleet.is_open(place) {
                continue;
            }
            if place.is_multiple_of(2) {
                let mut close = Vec::new();
                encode_masked(CLOSE, &1001_u16.to_be_bytes(), &mut close);
                self.fleet.send(place, &close);
            }
            self.seen.settle(place);
            self.fleet.reopen(place, &self.options.path)?;
        }
        Ok(())
    }

    /// The slow ones stop reading, one after the other, so that they do not all wake at once.
    fn fall_asleep(&mut self, now: Instant) {
        let count = u32::try_from(self.slow.len().max(1)).unwrap_or(u32::MAX);
        let apart = Duration::from_secs(self.options.slow_for) / count;
        for (slow, nth) in self.slow.iter_mut().zip(1..) {
            self.seen.is_slow[slow.place] = true;
            self.fleet.silence(slow.place, true, |_, _| ());
            (slow.reads, slow.until) = (false, now + apart * nth);
        }
    }

    /// Lets those slow ones read whose time has come, and those stop that have read.
    fn take_turns(&mut self) -> Result<(), Failure> {
        let Self { fleet, publisher, seen, slow, options, .. } = self;
        let now = Instant::now();
        for slow in slow.iter_mut().filter(|slow| slow.until <= now) {
            slow.reads = !slow.reads;
            let lasts = if slow.reads { READS_FOR } else { Duration::from_secs(options.slow_for) };
            slow.until = now + lasts;
            let tell = |place, heard: Heard<'_>| seen.note(place, &heard, &publisher.writer);
            fleet.silence(slow.place, !slow.reads, tell);
        }
        self.pump(Duration::ZERO)
    }

    #[expect(clippy::print_stderr, reason = "samples are progress, the report is the output")]
    fn sample(&self, at: Duration, reconnected: u64) -> Result<(), Failure> {
        let rss = usage(&self.options.target)?.map_or(f64::NAN, |usage| usage.rss as f64 / 1024.0);
        let p99 = self.seen.latest.percentile(99).unwrap_or_default().as_secs_f64() * 1000.0;
        let Seen { delivered, closes, .. } = &self.seen;
        let Losses { told, untold } = self.seen.losses_so_far();
        eprintln!(
            "{:>5} s  {rss:.1} MiB  p99 {p99:.3} ms  delivered {delivered}  told {told}  untold {untold}  reconnected \
             {reconnected}  closed {closes}",
            at.as_secs()
        );
        Ok(())
    }

    /// Everybody reads until the newest message has come, or nothing comes any more.
    fn hear_the_last(&mut self) -> Result<(), Failure> {
        let newest = self.publisher.writer.newest();
        self.slow.iter_mut().for_each(|slow| (slow.reads, slow.until) = (false, Instant::now()));
        self.take_turns()?;
        let is_awaited = |live: &Self| live.seen.gaps.iter().any(|gaps| !gaps.awaits_nothing(newest));
        let (mut delivered, mut since) = (self.seen.delivered, Instant::now());
        while is_awaited(self) && since.elapsed() < QUIET {
            self.pump(WAIT)?;
            if std::mem::replace(&mut delivered, self.seen.delivered) != self.seen.delivered {
                since = Instant::now();
            }
        }
        for place in 0..self.options.subs {
            if !self.seen.gaps[place].is_at(newest) {
                // What has not come by now counts as if the next message had come without it.
                self.seen.gaps[place].note(newest + 1);
            }
            self.seen.settle(place);
        }
        Ok(())
    }

    fn report(&self, seconds: f64, reconnected: u64) -> Report {
        let Losses { told, untold } = self.seen.losses;
        let unrest = Unrest { reconnected, closed_1013: self.seen.closes_1013, told, untold };
        Report {
            name: self.options.target.name.clone(),
            connections: self.options.subs,
            delivered: self.seen.delivered,
            due: self.seen.delivered + told + untold,
            seconds,
            closed: self.seen.closes,
            out_of_order: Some(self.seen.out_of_order),
            unrest: Some(unrest),
            ..Report::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_ones_are_spread() {
        let places = |percent| slow_places(1000, percent).iter().map(|slow| slow.place).collect::<Vec<_>>();
        assert_eq!(places(0), [0; 0]);
        assert_eq!(places(1), (0..10).map(|nth| nth * 100 + 99).collect::<Vec<_>>());
        assert_eq!(places(50).len(), 500);
    }
}
