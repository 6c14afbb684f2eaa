//! Running the client in a machine and reading what Backstep has on record.
//!
//! Purpose: the few words that many tests need. Absent on purpose: a connection to the bus: what is tested is what
//! people run.

use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use backstep_tests::command::Output;
use backstep_tests::machine::Machine;
use backstep_tests::wait::wait_until;
use serde_json::Value;

/// How long a machine may take for anything that is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Runs `backstep` as root.
pub(crate) fn backstep(machine: &Machine, words: &[&str]) -> Result<Output> {
    machine.run([&["backstep"], words].concat())
}

/// A command that runs while the test goes on; it is killed when this value goes.
///
/// Make it after its machine, so that it goes first: at its end systemd stops all processes for a moment, and what entered
/// the machine from outside would stay stopped, and the machine with it.
pub(crate) struct Background {
    child: Option<Child>,
    line: String,
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take()
            && let Err(error) = child.kill().and_then(|()| child.wait())
        {
            eprintln!("{}: {error}", self.line);
        }
    }
}

impl Background {
    /// Starts a command in a machine as root.
    pub(crate) fn start(machine: &Machine, words: &[&str]) -> Result<Self> {
        let mut command = machine.call(words).command()?;
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        Ok(Self { child: Some(child), line: words.join(" ") })
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Result<Output> {
        let output = self.child.take().context("it has ended")?.wait_with_output()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Output { command: self.line.clone(), status: output.status, stdout: text(&output.stdout), stderr: text(&output.stderr) })
    }

    /// An error with what it printed if it has ended.
    pub(crate) fn check_running(&mut self) -> Result<()> {
        let ended = self.child.as_mut().map(Child::try_wait).transpose()?.flatten();
        ensure!(ended.is_none(), "{} ended too early", self.line);
        Ok(())
    }
}

/// The transactions on record, newest first.
pub(crate) fn history(machine: &Machine) -> Result<Vec<Value>> {
    Ok(serde_json::from_str(&backstep(machine, &["history", "--json"])?.success()?.stdout)?)
}

/// All properties of a transaction.
pub(crate) fn show(machine: &Machine, id: &str) -> Result<Value> {
    Ok(serde_json::from_str(&backstep(machine, &["show", "--json", id])?.success()?.stdout)?)
}

/// The whole record of a transaction.
pub(crate) fn document(machine: &Machine, id: &str) -> Result<Value> {
    Ok(serde_json::from_str(&backstep(machine, &["show", "--document", id])?.success()?.stdout)?)
}

/// The words of the events of a transaction, in order.
pub(crate) fn events(document: &Value) -> Vec<String> {
    document["events"].as_array().into_iter().flatten().map(|event| text(&event["event"])).collect()
}

/// The newest transaction's row.
pub(crate) fn newest(machine: &Machine) -> Result<Value> {
    history(machine)?.into_iter().next().context("nothing is on record")
}

/// A JSON string's text; empty for anything else.
pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Waits until the transaction with this description is in `state`; answers its id. It may be over it already: then
/// that is the error.
pub(crate) fn wait_for_state(machine: &Machine, description: &str, state: &str) -> Result<String> {
    wait_until(&format!("{description:?} is {state}"), PATIENCE, || {
        let rows = history(machine)?;
        let Some(row) = rows.iter().find(|row| row["description"] == description) else { return Ok(None) };
        ensure!(row["state"] == state || row["finished"].is_null(), "{description:?} has ended: {row:#}");
        Ok((row["state"] == state).then(|| text(&row["id"])))
    })
}

/// Waits until a step of a transaction runs, in whichever direction.
pub(crate) fn wait_for_step(machine: &Machine, id: &str, step: &str) -> Result<()> {
    wait_until(&format!("step {step} of {id} runs"), PATIENCE, || {
        let shown = show(machine, id)?;
        let steps = shown["steps"].as_array().cloned().unwrap_or_default();
        Ok(steps.iter().any(|row| row["kind"] == step && row["state"] == "running").then_some(()))
    })
}

/// The main process of a unit; 0 when it has none.
pub(crate) fn main_pid(machine: &Machine, unit: &str) -> Result<u32> {
    Ok(machine.check(["systemctl", "show", "--value", "--property=MainPID", unit])?.trim().parse()?)
}

/// Waits until a file is there.
pub(crate) fn wait_for_file(machine: &Machine, path: &str) -> Result<()> {
    wait_until(&format!("{path} is there"), PATIENCE, || Ok(machine.path(path).exists().then_some(())))
}
