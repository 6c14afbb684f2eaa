//! `backstep generate`: man pages and completions, for packagers.

use std::fs;
use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::args::{Cli, Generated};
use crate::error::ClientError;

/// Writes into a folder, which is made when absent.
pub(crate) fn generate(what: Generated, dir: &Path) -> Result<u8, ClientError> {
    let failed = |source| ClientError::Generate { path: dir.to_owned(), source };
    fs::create_dir_all(dir).map_err(failed)?;
    match what {
        Generated::Man => clap_mangen::generate_to(Cli::command(), dir).map_err(failed)?,
        Generated::Completions => {
            for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
                clap_complete::generate_to(shell, &mut Cli::command(), "backstep", dir).map_err(failed)?;
            }
        }
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_and_every_shell_a_completion() {
        let dir = tempfile::tempdir().expect("folder");
        for what in [Generated::Man, Generated::Completions] {
            assert_eq!(generate(what, dir.path()).expect("generate"), 0);
        }
        for name in ["backstep.1", "backstep-install.1", "backstep-transaction-show.1", "backstep.bash", "_backstep", "backstep.fish"] {
            assert!(dir.path().join(name).is_file(), "{name}");
        }
        assert!(!dir.path().join("backstep-generate.1").exists(), "hidden commands have no page");
    }
}
