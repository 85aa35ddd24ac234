//! Programs that the checks need and that a clean machine may lack. Adding one is one constant here and its
//! name in `Step::tools`.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use super::shell::{self, Failure};

/// The browser.
pub(super) const CHROMIUM: Tool =
    Tool { programs: &["chromium", "chromium-browser", "google-chrome"], package: "chromium", works: &[] };
/// Runs the tests that are written in JavaScript, which needs version 20: Debian has it since 13.
pub(super) const NODE: Tool = Tool {
    programs: &["node"],
    package: "nodejs",
    works: &["-e", "process.exit(parseInt(process.versions.node) >= 20 ? 0 : 1)"],
};
/// Installs what those tests need.
pub(super) const NPM: Tool = Tool { programs: &["npm"], package: "npm", works: &[] };

/// What the layers of production are tested against.
pub(super) const REDIS: Tool = Tool { programs: &["redis-server"], package: "redis-server", works: &[] };

/// Makes the environments of the packages that the layers are tested against. Debian packs it without what an
/// environment needs.
pub(super) const PYTHON: Tool =
    Tool { programs: &["python3"], package: "python3-venv", works: &["-m", "ensurepip", "--version"] };

/// The second database.
pub(super) const POSTGRES: Tool = Tool { programs: &["postgres"], package: "postgresql", works: &[] };
/// Makes the folder in which that one keeps its data.
pub(super) const INITDB: Tool = Tool { programs: &["initdb"], package: "postgresql", works: &[] };

/// A peer of the benches.
pub(super) const NGINX: Tool = Tool { programs: &["nginx"], package: "nginx", works: &[] };
/// Its module, which is no program: the shell says whether it is there.
pub(super) const NCHAN: Tool = Tool {
    programs: &["sh"],
    package: "libnginx-mod-nchan",
    works: &["-c", "test -f /usr/lib/nginx/modules/ngx_nchan_module.so"],
};

/// Where Debian puts programs that are not on the search path: a folder for each version of PostgreSQL.
const VERSIONS: &str = "/usr/lib/postgresql";
/// And those that only root is thought to start.
const SERVERS: &str = "/usr/sbin";

/// A program and the Debian package that holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tool {
    /// The names it goes by, the best first.
    programs: &'static [&'static str],
    package: &'static str,
    /// Arguments with which the program must succeed to count as installed, unless being there is enough.
    works: &'static [&'static str],
}

impl Tool {
    /// Where the program is.
    ///
    /// # Errors
    ///
    /// It is not installed, which cannot be after [`ensure`].
    pub(super) fn path(self) -> Result<PathBuf, Failure> {
        self.find_in(&search_path()).ok_or_else(|| missing(&[self]))
    }

    fn find_in(self, search_path: &OsStr) -> Option<PathBuf> {
        let folders: Vec<PathBuf> = env::split_paths(search_path).collect();
        let candidates =
            self.programs.iter().flat_map(|program| folders.iter().map(move |folder| folder.join(program)));
        candidates.into_iter().find(|path| {
            path.metadata()
                .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
                && (self.works.is_empty() || shell::succeeds(Command::new(path).args(self.works)))
        })
    }
}

/// Installs those of the tools that are missing, when this user may.
///
/// # Errors
///
/// A tool is missing and may not be installed, or its installation failed.
pub(super) fn ensure(tools: &[Tool]) -> Result<(), Failure> {
    let lacking = lacking(tools, &search_path());
    if lacking.is_empty() {
        return Ok(());
    }
    let privilege = privilege().ok_or_else(|| missing(&lacking))?;
    for arguments in apt_commands(&lacking) {
        let words = privilege.iter().copied().chain(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
        let words: Vec<&str> = words.chain(arguments).collect();
        shell::run(Command::new(words[0]).args(&words[1..]))?;
    }
    tools.iter().try_for_each(|tool| tool.path().map(drop))
}

/// Where programs are looked for, in this order.
fn search_path() -> OsString {
    let path = env::var_os("PATH").unwrap_or_default();
    let versions = fs::read_dir(VERSIONS).into_iter().flatten().flatten();
    let folders = env::split_paths(&path).chain(versions.map(|version| version.path().join("bin")));
    let folders = folders.chain([PathBuf::from(SERVERS)]);
    // Only a folder with a colon in its name cannot be part of a path, and none of these has one.
    env::join_paths(folders).unwrap_or(path)
}

/// The tools that are not there, each once.
fn lacking(tools: &[Tool], search_path: &OsStr) -> Vec<Tool> {
    let mut lacking = Vec::new();
    for tool in tools {
        if tool.find_in(search_path).is_none() && !lacking.contains(tool) {
            lacking.push(*tool);
        }
    }
    lacking
}

/// The words that give a command the right to install, none for root; nothing when we must not.
fn privilege() -> Option<&'static [&'static str]> {
    let may_install = shell::succeeds(Command::new("apt-get").arg("--version"));
    let is_root = || shell::read(Command::new("id").arg("-u")).is_ok_and(|uid| uid.trim() == "0");
    if may_install && is_root() {
        Some(&[])
    } else if may_install && shell::succeeds(Command::new("sudo").args(["-n", "true"])) {
        Some(&["sudo", "-n"])
    } else {
        None
    }
}

/// What `apt-get` is told. Another installation may be going on, so it waits for its lock.
fn apt_commands(tools: &[Tool]) -> [Vec<&'static str>; 2] {
    let install = ["-o", "DPkg::Lock::Timeout=120", "install", "-y", "--no-install-recommends"];
    let packages = tools.iter().map(|tool| tool.package);
    [vec!["update"], install.into_iter().chain(packages).collect()]
}

fn missing(tools: &[Tool]) -> Failure {
    let join = |words: Vec<&str>, separator: &str| words.join(separator);
    Failure::Missing {
        programs: join(tools.iter().map(|tool| tool.programs[0]).collect(), ", "),
        packages: join(tools.iter().map(|tool| tool.package).collect(), " "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_is_an_executable_file_on_the_search_path() {
        let folder = tempfile::tempdir().unwrap();
        let second = folder.path().join("chromium-browser");
        assert_eq!(CHROMIUM.find_in(folder.path().as_os_str()), None);
        fs::write(&second, "").unwrap();
        fs::set_permissions(&second, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(CHROMIUM.find_in(folder.path().as_os_str()), None);
        fs::set_permissions(&second, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(CHROMIUM.find_in(folder.path().as_os_str()), Some(second));
    }

    #[test]
    fn a_program_that_lacks_a_part_is_not_the_tool() {
        let path = search_path();
        let sh = |script| Tool { programs: &["sh"], package: "sh", works: script };
        assert!(sh(&["-c", "exit 0"]).find_in(&path).is_some());
        assert_eq!(sh(&["-c", "exit 1"]).find_in(&path), None);
    }

    #[test]
    fn each_lacking_tool_is_installed_once() {
        let folder = tempfile::tempdir().unwrap();
        let lacking = lacking(&[NODE, NPM, NODE], folder.path().as_os_str());
        assert_eq!(lacking, [NODE, NPM]);
        assert_eq!(apt_commands(&lacking)[1][3..], ["-y", "--no-install-recommends", "nodejs", "npm"]);
    }

    #[test]
    fn nothing_is_done_when_nothing_lacks() {
        ensure(&[]).unwrap();
        ensure(&[Tool { programs: &["sh"], package: "no-such-package", works: &[] }]).unwrap();
    }

    #[test]
    fn the_message_says_what_to_install() {
        let text = missing(&[CHROMIUM, NODE]).to_string();
        assert!(text.contains("chromium, node"), "{text}");
        assert!(text.contains("apt-get install chromium nodejs"), "{text}");
    }
}
