//! A Redis server of its own for what connects processes: on a free port of this machine, without anything in it, and
//! gone afterwards.

use std::net::SocketAddr;
use std::process::Command;

use crate::server::{self, Server};
use crate::shell::{self, Failure};
use crate::tools;

/// A running server; dropping it kills it and deletes its folder.
pub(super) struct Redis {
    // Declared before the folder, the server is dropped first: nothing writes to a folder that is gone.
    server: Server,
    _folder: tempfile::TempDir,
}

impl Redis {
    pub(super) fn start() -> Result<Self, Failure> {
        let folder = shell::temporary_folder()?;
        let address = server::free_address()?;
        let (host, port) = (address.ip().to_string(), address.port().to_string());
        let mut command = Command::new(tools::REDIS.path()?);
        command.args(["--bind", &host, "--port", &port, "--save", ""]).current_dir(folder.path());
        let mut server = Server::start(&mut command, address, &folder.path().join("log"))?;
        server.wait_until_open()?;
        Ok(Self { server, _folder: folder })
    }

    /// Host and port, as they stand in URLs.
    pub(super) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// The process.
    pub(super) fn pid(&self) -> u32 {
        self.server.pid()
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn a_server_starts_and_goes_with_its_folder() {
        let redis = Redis::start().unwrap();
        let (address, folder) = (redis.address(), redis._folder.path().to_owned());
        assert!(TcpStream::connect(address).is_ok());
        drop(redis);
        assert!(TcpStream::connect(address).is_err());
        assert!(!folder.exists());
    }
}
