//! `backstep-recover [--root DIR]`: see the library. In an initramfs the root is where the system will be.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use backstep_recover::{RecoverError, recover};

const STATE: &str = "/var/lib/backstep";

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    let root = match words.as_slice() {
        [] => None,
        [flag, root] if flag == "--root" => Some(PathBuf::from(root)),
        _ => {
            eprintln!("usage: backstep-recover [--root DIR]");
            return ExitCode::from(2);
        }
    };
    match enter(root.as_deref()).and_then(|()| recover(Path::new("/"), Path::new(STATE))) {
        Ok(outcomes) => outcomes.iter().for_each(|outcome| println!("backstep-recover: {outcome}")),
        Err(error) => {
            eprintln!("backstep-recover: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Makes `root` the root of this process: the names in a capture are those of the system.
fn enter(root: Option<&Path>) -> Result<(), RecoverError> {
    let Some(root) = root else { return Ok(()) };
    let entered = rustix::process::chroot(root).and_then(|()| rustix::process::chdir("/"));
    entered.map_err(|error| RecoverError::Io { what: "enter", path: root.to_path_buf(), source: error.into() })
}
