//! `backstep-planner`: one question on descriptor 0, one answer on the same, then the end.

use std::os::fd::AsFd;

use anyhow::{Context, bail};
use backstep_core::{ErrorCode, Failure};
use backstep_planner::{Settings, answer, channel, settings};
use backstep_wire::planner::{answer_to_bytes, question_from_bytes};

fn main() -> anyhow::Result<()> {
    let settings = arguments(std::env::args().skip(1))?;
    let stdin = std::io::stdin();
    let (bytes, archives) = channel::receive(stdin.as_fd())?;
    let answer = match question_from_bytes(&bytes) {
        Ok(question) => answer(&question, archives, &settings),
        Err(error) => Err(Failure::new(ErrorCode::Internal, error.to_string())),
    };
    channel::send(stdin.as_fd(), &answer_to_bytes(&answer))?;
    Ok(())
}

/// `--apt-config FILE` replaces settings of apt, for tests; there are no other arguments.
fn arguments(mut words: impl Iterator<Item = String>) -> anyhow::Result<Settings> {
    match (words.next().as_deref(), words.next(), words.next()) {
        (None, _, _) => Ok(Settings::new()),
        (Some("--apt-config"), Some(file), None) => {
            let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
            settings(&text).with_context(|| format!("{file} is not of the form Key \"value\";"))
        }
        _ => bail!("usage: backstep-planner [--apt-config FILE]"),
    }
}
