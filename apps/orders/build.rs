//! Brings the DataTables library into the build folder, so that the page serves it itself. Third-party
//! browser code is never committed; the versions are those of `web/package-lock.json`.
//!
//! `ORDERS_WEB` says where the files come from:
//! - unset: `npm ci` in the build folder, when npm is there;
//! - a folder: that `node_modules`, for builds without a network;
//! - `off`: from nowhere.
//!
//! Nothing here fails a build. Without the files the page names a CDN instead, and without that it
//! has a plain table of its own. After a failed download, touch `web/package.json` to try again.
//!
//! The crate gets `$OUT_DIR/vendor/` (there in every case) and `env!("ORDERS_DATATABLES")`: `vendored` or `cdn`.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

/// What the page needs of the installed packages; the last part of each path is its name under `/static/vendor/`.
const FILES: [&str; 2] =
    ["datatables.net/js/dataTables.min.js", "datatables.net-dt/css/dataTables.dataTables.min.css"];

/// What npm needs to install exactly the locked versions.
const MANIFESTS: [&str; 2] = ["package.json", "package-lock.json"];

/// Unreachable registries must cost seconds, not minutes. Install scripts are not run.
const NPM_ARGUMENTS: [&str; 6] =
    ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1", "--fetch-timeout=15000"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=ORDERS_WEB");
    for manifest in MANIFESTS {
        println!("cargo::rerun-if-changed=web/{manifest}");
    }
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let vendor = out.join("vendor");
    fs::create_dir_all(&vendor)?;
    let vendored = vendor_files(&out, &vendor).unwrap_or_else(|problem| {
        println!("cargo::warning=DataTables will come from a CDN: {problem}");
        false
    });
    if !vendored {
        remove_files(&vendor);
    }
    println!("cargo::rustc-env=ORDERS_DATATABLES={}", if vendored { "vendored" } else { "cdn" });
    Ok(())
}

/// Fills `vendor`; `false` when nobody wants or can have the files.
fn vendor_files(out: &Path, vendor: &Path) -> Result<bool, Box<dyn Error>> {
    let modules = match env::var("ORDERS_WEB") {
        Ok(choice) if choice == "off" => return Ok(false),
        Ok(folder) => {
            println!("cargo::rerun-if-changed={folder}");
            PathBuf::from(folder)
        }
        Err(_) => match install(out)? {
            Some(modules) => modules,
            None => return Ok(false),
        },
    };
    for file in FILES {
        let from = modules.join(file);
        let name = from.file_name().ok_or("a path without a file name")?;
        fs::copy(&from, vendor.join(name)).map_err(|error| format!("{}: {error}", from.display()))?;
    }
    Ok(true)
}

/// Installs the locked packages under `out` and returns their folder; `None` when there is no npm.
fn install(out: &Path) -> Result<Option<PathBuf>, Box<dyn Error>> {
    for manifest in MANIFESTS {
        fs::copy(Path::new("web").join(manifest), out.join(manifest))?;
    }
    let npm = if cfg!(windows) { "npm.cmd" } else { "npm" };
    let output = match Command::new(npm).args(NPM_ARGUMENTS).current_dir(out).output() {
        Ok(output) => output,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if output.status.success() {
        return Ok(Some(out.join("node_modules")));
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let why = said.lines().find(|line| line.contains("npm error")).unwrap_or("no reason given");
    Err(format!("npm ci failed: {why}").into())
}

/// Files of an earlier build must not be served when this one has none; a missing file is as good as a removed one.
fn remove_files(vendor: &Path) {
    for file in FILES {
        if let Some(name) = Path::new(file).file_name() {
            let _ = fs::remove_file(vendor.join(name));
        }
    }
}
