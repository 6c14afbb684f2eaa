//! `backstep generate`: man pages and completions, for packagers.

mod completions;

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
        Generated::Man => {
            clap_mangen::generate_to(Cli::command(), dir).map_err(failed)?;
            for page in fs::read_dir(dir).map_err(failed)? {
                rewrite(&page.map_err(failed)?.path(), polished).map_err(failed)?;
            }
        }
        Generated::Completions => {
            for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
                let file = clap_complete::generate_to(shell, &mut Cli::command(), "backstep", dir).map_err(failed)?;
                rewrite(&file, |made| completions::with_names(shell, made, &Cli::command())).map_err(failed)?;
            }
        }
    }
    Ok(0)
}

#[allow(clippy::disallowed_methods)] // What a crash leaves empty is made again by the next build.
fn rewrite(path: &Path, change: impl Fn(&str) -> String) -> std::io::Result<()> {
    let text = fs::read_to_string(path)?;
    fs::write(path, change(&text))
}

/// A page that says which program's it is, whose notes are named as such, and whose indented lines (tables) stay as they are: man(1) fills all others.
fn polished(page: &str) -> String {
    let mut text = String::with_capacity(page.len() + 64);
    let mut verbatim = false;
    for line in page.lines() {
        let indented = line.starts_with("  ");
        if indented != verbatim {
            text.push_str(if indented { ".nf\n" } else { ".fi\n" });
            verbatim = indented;
        }
        match line.strip_prefix(".TH ").and_then(|title| title.split(' ').next()) {
            Some(name) => text.push_str(&format!(".TH {name} 1 \"\" \"backstep {}\"", env!("CARGO_PKG_VERSION"))),
            None => text.push_str(if line == ".SH EXTRA" { ".SH NOTES" } else { line }),
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_in_a_page_is_not_filled() {
        let page = polished(
            ".TH backstep-install 1  \"install \" \n.SH EXTRA\nExit status:\n  0 success   2 usage\n  4 impossible\n\nPlain runs\n",
        );
        let title = format!(".TH backstep-install 1 \"\" \"backstep {}\"\n", env!("CARGO_PKG_VERSION"));
        assert_eq!(page, title + ".SH NOTES\nExit status:\n.nf\n  0 success   2 usage\n  4 impossible\n.fi\n\nPlain runs\n");
    }

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
        for (shell, offers) in [("backstep.bash", "rollback leave"), ("_backstep", "(rollback leave)"), ("backstep.fish", "rollback\\t")] {
            let text = fs::read_to_string(dir.path().join(shell)).expect("a completion");
            assert!(text.contains(offers), "{shell} offers the policies");
        }
    }
}
