//! The program under test as a site: one process of it, or several that share a database and a channel layer.

use std::path::Path;
use std::process::Command;

use super::server::{self, Server};
use super::shell::Failure;

/// What the processes of a site share.
pub(super) struct Setup {
    /// The URL of the channel layer.
    pub(super) layer: String,
    /// The URL of the database.
    pub(super) database: String,
}

impl Setup {
    /// The same, as the program reads it from its environment.
    pub(super) fn variables(&self) -> [(&str, &str); 2] {
        [("WATERWAY_LAYER", &self.layer), ("WATERWAY_DATABASE", &self.database)]
    }
}

/// A running site; dropping it kills its processes.
pub(super) struct Site {
    processes: Vec<Server>,
}

impl Site {
    /// Starts all processes at once, as a machine does that boots, and waits until each is ready. They write their
    /// logs to `folder`.
    pub(super) fn start(program: &Path, count: usize, setup: &Setup, folder: &Path) -> Result<Self, Failure> {
        let start = |nth| {
            let address = server::free_address()?;
            let mut command = Command::new(program);
            command.args(["runserver", &address.to_string(), "--layer", &setup.layer]);
            command.args(["--database", &setup.database]).current_dir(folder);
            Server::start(&mut command, address, &folder.join(format!("server-{nth}.log")))
        };
        let processes = (0..count).map(start).collect::<Result<Vec<_>, _>>()?;
        let mut site = Self { processes };
        site.processes.iter_mut().try_for_each(|process| process.wait_until_ready("/readyz"))?;
        Ok(site)
    }

    /// Where the processes are, with a space between them.
    pub(super) fn addresses(&self) -> String {
        let urls = self.processes.iter().map(|process| format!("http://{}", process.address()));
        urls.collect::<Vec<_>>().join(" ")
    }

    /// Prints the end of each process's log.
    pub(super) fn show_logs(&self) {
        self.processes.iter().for_each(Server::show_log);
    }

    /// Stops one process after the other; each must end cleanly.
    pub(super) fn stop(self) -> Result<(), Failure> {
        self.processes.into_iter().try_for_each(Server::stop)
    }
}
