//! Connections that do nothing.

use std::iter::repeat_n;
use std::time::Instant;

use crate::Failure;
use crate::fleet::Fleet;
use crate::meter::usage;
use crate::options::Idle;
use crate::report::Report;

/// The server meets a few connections before it is measured, so that what it needs once does not count.
const BEFORE: usize = 50;

/// Opens the connections, and tells what they have added to the server's memory and CPU time.
pub(crate) fn run(options: &Idle, mut tell: impl FnMut(Report)) -> Result<(), Failure> {
    let mut fleet = Fleet::new(&options.target)?;
    fleet.open(repeat_n(&*options.path, BEFORE))?;
    let before = usage(&options.target)?;
    let began = Instant::now();
    fleet.open(repeat_n(&*options.path, options.subs))?;
    let seconds = began.elapsed().as_secs_f64();
    let grown = before.zip(usage(&options.target)?).map(|(before, after)| [before, after]);
    let report = Report {
        name: options.target.name.clone(),
        connections: options.subs,
        seconds,
        closed: fleet.closed(),
        rss_mib: grown.map(|[_, after]| after.rss as f64 / 1024.0),
        ..Report::default()
    };
    tell(report.with_connections(grown));
    Ok(())
}
