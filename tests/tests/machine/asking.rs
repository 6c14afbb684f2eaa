//! A person without rights at a terminal: the password is asked for there, and decides.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, ensure};
use backstep_tests::backstep::machine;
use backstep_tests::machine::{Machine, USER};
use backstep_tests::package::Package;
use backstep_tests::repository::{Repository, Transport};
use backstep_tests::wait::wait_until;

use crate::clients::{PATIENCE, document, events, newest, text};

const PASSWORD: &str = "correct horse";

/// A command on a terminal of its own in a machine, as the ordinary user.
struct Terminal {
    child: Child,
    keys: ChildStdin,
    seen: Arc<Mutex<String>>,
    reader: JoinHandle<()>,
}

impl Terminal {
    fn start(machine: &Machine, line: &str) -> Result<Self> {
        let mut command = machine.call(["script", "--quiet", "--return", "--command", line, "/dev/null"]).user(USER).command()?;
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let keys = child.stdin.take().context("no keys")?;
        let mut screen = child.stdout.take().context("no screen")?;
        let seen = Arc::<Mutex<String>>::default();
        let shared = Arc::clone(&seen);
        let reader = thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = screen.read(&mut buffer) {
                shared.lock().unwrap_or_else(PoisonError::into_inner).push_str(&String::from_utf8_lossy(&buffer[..read]));
            }
        });
        Ok(Self { child, keys, seen, reader })
    }

    fn seen(&self) -> String {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for these words on the screen, then types a line.
    fn answer(&mut self, words: &str, line: &str) -> Result<()> {
        wait_until(&format!("the screen shows {words:?}"), PATIENCE, || Ok(self.seen().contains(words).then_some(())))
            .with_context(|| self.seen())?;
        Ok(writeln!(self.keys, "{line}")?)
    }

    /// The exit code, and all that was on the screen.
    fn end(mut self) -> Result<(Option<i32>, String)> {
        let code = self.child.wait()?.code();
        self.reader.join().ok().context("the reader failed")?;
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok((code, seen))
    }
}

fn prepared() -> Result<Machine> {
    let machine = machine()?;
    machine.check(["usermod", "--append", "--groups", "sudo", USER])?;
    machine.call(["chpasswd"]).input(format!("{USER}:{PASSWORD}\n")).output()?.success()?;
    machine.add_repository("local", &Repository::new(&[Package::new("bs-one", "1")])?, Transport::Copy)?;
    Ok(machine)
}

#[test]
fn the_password_is_asked_for_on_the_terminal_and_decides() -> Result<()> {
    let machine = prepared()?;
    without_a_terminal_nobody_is_asked(&machine)?;
    a_wrong_password_is_refused(&machine)?;
    leaving_the_question_cancels(&machine)?;
    the_right_password_goes_on(&machine)
}

fn without_a_terminal_nobody_is_asked(machine: &Machine) -> Result<()> {
    let denied = machine.run_as(USER, ["backstep", "install", "-y", "bs-one"])?.failure(5)?;
    for words in ["Error: ", "org.backstep1.install", "Hint: Ask an administrator"] {
        ensure!(denied.stderr.contains(words), "it does not say {words:?}: {}", denied.stderr);
    }
    Ok(())
}

fn a_wrong_password_is_refused(machine: &Machine) -> Result<()> {
    let mut terminal = Terminal::start(machine, "backstep install bs-one")?;
    terminal.answer("Continue? [Y/n] ", "")?;
    terminal.answer("Password: ", "wrong")?;
    let (code, seen) = terminal.end()?;
    ensure!(code == Some(5), "{code:?}: {seen}");
    for words in ["org.backstep1.install", "Error: ", "Hint: Ask an administrator"] {
        ensure!(seen.contains(words), "it does not say {words:?}: {seen}");
    }
    let record = document(machine, &text(&newest(machine)?["id"]))?;
    assert_eq!(text(&record["state"]), "cancelled");
    ensure!(events(&record).iter().any(|event| event == "denied"), "{record:#}");
    assert_eq!(machine.package("bs-one")?, None);
    Ok(())
}

/// Ctrl-C at the password withdraws the offer and gives the terminal back.
fn leaving_the_question_cancels(machine: &Machine) -> Result<()> {
    let mut terminal = Terminal::start(machine, "trap : INT; backstep install -y bs-one; code=$?; stty -a; exit $code")?;
    terminal.answer("Password: ", "\u{3}")?;
    let (code, seen) = terminal.end()?;
    ensure!(code == Some(11) && seen.contains("Cancelled; nothing was changed."), "{code:?}: {seen}");
    ensure!(seen.contains(" echo ") && !seen.contains(" -echo "), "the terminal stays silent: {seen}");
    assert_eq!(text(&newest(machine)?["state"]), "cancelled", "{seen}");
    assert_eq!(machine.package("bs-one")?, None);
    Ok(())
}

fn the_right_password_goes_on(machine: &Machine) -> Result<()> {
    let mut terminal = Terminal::start(machine, "backstep install bs-one")?;
    terminal.answer("Continue? [Y/n] ", "")?;
    terminal.answer("Password: ", PASSWORD)?;
    let (code, seen) = terminal.end()?;
    ensure!(code == Some(0) && seen.contains("1 installed (bs-one)"), "{code:?}: {seen}");
    ensure!(!seen.contains(PASSWORD), "the password is on the screen: {seen}");
    assert_eq!(machine.package("bs-one")?.as_deref(), Some("ii 1"));
    let record = document(machine, &text(&newest(machine)?["id"]))?;
    assert_eq!((text(&record["state"]), text(&record["actor"]["user"])), ("completed".to_owned(), USER.to_owned()));
    Ok(())
}
