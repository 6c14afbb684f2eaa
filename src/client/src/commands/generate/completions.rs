//! Completions: what `clap_complete` makes of the grammar, and the names of packages and transactions, which it cannot know.

use clap::Command;
use clap_complete::Shell;

const BASH: &str = include_str!("names.bash");
const FISH: &str = include_str!("names.fish");
const ZSH: &str = include_str!("names.zsh");

/// Names that a command takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Names {
    Available,
    Installed,
    Transactions,
}

impl Names {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Installed => "installed",
            Self::Transactions => "transactions",
        }
    }

    /// What a positional argument of this name stands for.
    fn of(argument: &str, command: &str) -> Option<Self> {
        match argument {
            "packages" if command == "install" => Some(Self::Available),
            "packages" | "package" | "patterns" | "subjects" => Some(Self::Installed),
            "id" => Some(Self::Transactions),
            _ => None,
        }
    }
}

/// A shell's completions, with names.
pub(super) fn with_names(shell: Shell, made: &str, cli: &Command) -> String {
    match shell {
        Shell::Bash => format!("{made}{}", bash(cli)),
        Shell::Zsh => zsh(made),
        Shell::Fish => format!("{made}{}", fish(cli)),
        _ => made.to_owned(),
    }
}

/// Every command that takes names: its words, and the names of its first argument. Longer commands are first.
fn commands(cli: &Command) -> Vec<(String, Names)> {
    let mut found = Vec::new();
    let mut open: Vec<(String, &Command)> = cli.get_subcommands().map(|command| (command.get_name().to_owned(), command)).collect();
    while let Some((words, command)) = open.pop() {
        let first = command.get_positionals().next();
        found.extend(first.and_then(|first| Names::of(first.get_id().as_str(), command.get_name())).map(|names| (words.clone(), names)));
        open.extend(command.get_subcommands().map(|below| (format!("{words} {}", below.get_name()), below)));
    }
    found.sort_by_key(|(words, _)| (std::cmp::Reverse(words.split(' ').count()), words.clone()));
    found
}

fn bash(cli: &Command) -> String {
    let mut options: Vec<String> = Vec::new();
    let mut open = vec![cli];
    while let Some(command) = open.pop() {
        for option in command.get_opts().filter(|option| option.get_action().takes_values()) {
            options.extend(option.get_long().map(|long| format!("--{long}")));
            options.extend(option.get_short().map(|short| format!("-{short}")));
        }
        open.extend(command.get_subcommands());
    }
    options.sort();
    options.dedup();
    let case = |(words, names): &(String, Names)| format!("        '{words} '*) names={} ;;", names.as_str());
    let cases: Vec<String> = commands(cli).iter().map(case).collect();
    BASH.replace("@OPTIONS@", &options.join(" | ")).replace("@COMMANDS@", &cases.join("\n"))
}

/// Positional arguments are lines like `':id -- The transaction:_default' \` below a line `(command)`.
fn zsh(made: &str) -> String {
    let mut command = "";
    let mut text = String::with_capacity(made.len() + 4096);
    for line in made.split_inclusive('\n') {
        command = line.trim().strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).unwrap_or(command);
        let argument = line.trim_start_matches(['\'', '*', ':']).split(' ').next().unwrap_or_default();
        let names = Names::of(argument, command).filter(|_| line.starts_with('\'') && line.contains(" -- "));
        match names {
            Some(names) => text.push_str(&line.replacen(":_default'", &format!(": _backstep_names {}'", names.as_str()), 1)),
            None => text.push_str(line),
        }
    }
    text.replacen("if [ \"$funcstack[1]\"", &format!("{ZSH}if [ \"$funcstack[1]\""), 1)
}

fn fish(cli: &Command) -> String {
    let lines = commands(cli).into_iter().map(|(words, names)| {
        let condition = match words.split_once(' ') {
            Some((first, second)) => format!("__fish_backstep_using_subcommand {first}; and __fish_seen_subcommand_from {second}"),
            None => format!("__fish_backstep_using_subcommand {words}"),
        };
        format!("complete -c backstep -n \"{condition}\" -f -a \"(__fish_backstep_names {})\"\n", names.as_str())
    });
    FISH.to_owned() + &lines.collect::<String>()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::args::Cli;

    fn made(shell: Shell) -> String {
        let mut bytes = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "backstep", &mut bytes);
        with_names(shell, &String::from_utf8(bytes).expect("text"), &Cli::command())
    }

    #[test]
    fn commands_take_the_names_that_their_arguments_say() {
        let found = commands(&Cli::command());
        for (words, names) in [
            ("install", Names::Available),
            ("plan install", Names::Available),
            ("remove", Names::Installed),
            ("why", Names::Installed),
            ("show", Names::Transactions),
            ("rollback", Names::Transactions),
            ("transaction show", Names::Transactions),
        ] {
            assert!(found.contains(&(words.to_owned(), names)), "{words}: {found:?}");
        }
        assert!(found.iter().all(|(words, _)| words != "backup" && words != "files"), "{found:?}");
    }

    /// With this machine's own dpkg.
    #[allow(clippy::disallowed_methods)] // The shell that completes.
    #[test]
    fn bash_offers_installed_packages_where_a_command_takes_some() {
        let call = "COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); _backstep_with_names backstep \"${@: -1}\" \"${@: -2:1}\"; echo \"${COMPREPLY[*]}\"";
        let script = tempfile::NamedTempFile::new().expect("file");
        std::io::Write::write_all(&mut script.as_file(), format!("{}\n{call}\n", made(Shell::Bash)).as_bytes()).expect("write");
        let offered = |words: &[&str]| {
            let output = std::process::Command::new("bash").arg(script.path()).args(words).output().expect("bash");
            assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).expect("text").trim_end().to_owned()
        };
        assert_eq!(offered(&["backstep", "remove", "-y", "base-passw"]), "base-passwd");
        assert_eq!(offered(&["backstep", "plan", "remove", "base-passw"]), "base-passwd");
        for others in [["remove", "--on-failure", "base-passw"], ["remove", "-y", "./base-passw"]] {
            assert_eq!(offered(&[&["backstep"], &others[..]].concat()), "", "{others:?}");
        }
        assert_eq!(offered(&["backstep", "remove", "--on-failure", "roll"]), "rollback");
        assert!(offered(&["backstep", "remove", "--no-w"]).contains("--no-wait"));
    }

    #[test]
    fn zsh_and_fish_offer_names_where_a_command_takes_some() {
        let zsh = made(Shell::Zsh);
        for (names, least) in [("available'", 2), ("installed'", 10), ("transactions'", 10)] {
            let number = zsh.matches(&format!(": _backstep_names {names}")).count();
            assert!(number >= least, "{names} {number}");
        }
        assert!(zsh.find("_backstep_names() {") < zsh.find("if [ \"$funcstack[1]\""), "defined before the first use");
        let fish = made(Shell::Fish);
        assert!(fish.contains("using_subcommand install\" -f -a \"(__fish_backstep_names available)\""), "{fish}");
        assert!(fish.contains(
            "using_subcommand transaction; and __fish_seen_subcommand_from show\" -f -a \"(__fish_backstep_names transactions)\""
        ));
    }
}
