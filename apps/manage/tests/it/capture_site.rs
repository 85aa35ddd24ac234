//! Processes of one site that are killed and started again, and who of them relays.

use std::time::Duration;

use accounts::{Accounts, Db, NewUser, Settings};
use routing::User;
use tokio::time::{Instant, sleep};

use crate::program::Folder;
use crate::redis_server::RedisServer;
use crate::server::Server;

/// Who may see all orders, and who sees their own.
pub(crate) const STAFF: &str = "ana";
pub(crate) const OWNER: &str = "bob";

/// What a process says when it is the one that relays, and who has to be asked to say so.
const RELAYS: &str = "this process relays changes";
const LOG: &str = "info,consumers::capture=debug";

/// How long it may take until somebody relays again.
pub(crate) const FAILOVER: Duration = Duration::from_secs(5);

/// How often a log is read.
const PAUSE: Duration = Duration::from_millis(5);

/// Processes that share a database, and a channel layer if that connects processes.
pub(crate) struct Site {
    database: Folder,
    layer: String,
    processes: Vec<Process>,
}

struct Process {
    /// Where its log is.
    folder: Folder,
    server: Option<Server>,
}

impl Site {
    /// Two processes on a Redis server, or one that is alone; the keys are those of [`STAFF`] and [`OWNER`].
    pub(crate) async fn new(redis: Option<&RedisServer>) -> (Self, Db, [i64; 2]) {
        let database = Folder::new();
        let db = Db::open(&database.database()).await.unwrap();
        accounts::migrate(&db, &[accounts::MIGRATIONS, orders::MIGRATIONS]).await.unwrap();
        let accounts = Accounts::new(db.clone(), Settings::default()).unwrap();
        let mut owners = [0; 2];
        for (owner, username) in owners.iter_mut().zip([STAFF, OWNER]) {
            let is_staff = username == STAFF;
            let user = NewUser { username, email: "", password: username, is_staff, is_superuser: is_staff };
            *owner = accounts.create_user(user).await.unwrap().id();
        }
        let (layer, processes) = match redis {
            None => ("memory://".to_owned(), 1),
            // A burst after a failover may fill a process' queue in Redis, which it then tells its clients.
            Some(redis) => (redis.url(), 2),
        };
        let processes = (0..processes).map(|_| Process { folder: Folder::new(), server: None }).collect();
        let mut site = Self { database, layer, processes };
        for nth in 0..site.processes.len() {
            site.start(nth);
        }
        (site, db, owners)
    }

    /// Starts a process that does not run.
    pub(crate) fn start(&mut self, nth: usize) {
        let process = &mut self.processes[nth];
        let arguments = ["runserver", "127.0.0.1:0", "--layer", &self.layer];
        let mut command = process.folder.command(&arguments);
        command.env("WATERWAY_DATABASE", self.database.database()).env("RUST_LOG", LOG);
        process.server = Some(tokio::task::block_in_place(|| Server::of(&process.folder, command)));
    }

    /// Ends a process as `kill -9` does.
    pub(crate) fn kill(&mut self, nth: usize) {
        drop(self.processes[nth].server.take());
    }

    /// Sends a process that runs a signal, such as `-STOP`.
    pub(crate) fn signal(&self, nth: usize, signal: &str) {
        self.processes[nth].server.as_ref().expect("it runs").signal(signal);
    }

    pub(crate) fn len(&self) -> usize {
        self.processes.len()
    }

    /// Where a process that runs is.
    pub(crate) fn host(&self, nth: usize) -> String {
        self.processes[nth].server.as_ref().expect("it runs").host.clone()
    }

    /// Who relays, as soon as somebody does.
    pub(crate) async fn relaying(&self) -> usize {
        let start = Instant::now();
        loop {
            let relaying = self.processes.iter().position(Process::is_relaying);
            if let Some(nth) = relaying {
                return nth;
            }
            assert!(start.elapsed() < FAILOVER, "nobody relays");
            sleep(PAUSE).await;
        }
    }

    /// What the processes have said since they were started.
    pub(crate) fn logs(&self) -> Vec<String> {
        self.processes.iter().map(Process::log).collect()
    }
}

impl Process {
    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path("stderr.log")).unwrap()
    }

    /// Whoever begins to relay goes on until it ends.
    fn is_relaying(&self) -> bool {
        self.server.is_some() && self.log().contains(RELAYS)
    }
}
