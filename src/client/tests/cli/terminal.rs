//! The same on a terminal: the question, the bar and colours.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};

use nix::pty::{Winsize, openpty};

use crate::fake::{Bus, Daemon};
use crate::{PLAN, install};

struct Terminal {
    master: File,
    child: Child,
    seen: String,
}

impl Terminal {
    fn start(bus: &Bus, line: &str) -> Self {
        let size = Winsize { ws_row: 24, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(Some(&size), None).expect("pty");
        let side = || Stdio::from(pty.slave.try_clone().expect("clone"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_backstep"));
        command.args(["--bus", &bus.address]).args(line.split(' ')).env("TERM", "xterm").env_remove("NO_COLOR");
        let child = command.stdin(side()).stdout(side()).stderr(side()).spawn().expect("spawn");
        drop(command);
        Self { master: pty.master.into(), child, seen: String::new() }
    }

    /// Reads until the text was seen, or the program ended.
    fn until(&mut self, text: &str) -> bool {
        let mut buffer = [0; 4096];
        while !self.seen.contains(text) {
            // The other side closed is an error of this one.
            match self.master.read(&mut buffer) {
                Ok(read) if read > 0 => self.seen.push_str(&String::from_utf8_lossy(&buffer[..read])),
                Ok(_) | Err(_) => return false,
            }
        }
        true
    }

    fn answer(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).expect("write");
    }

    fn end(mut self) -> (String, Option<i32>) {
        self.until("\u{0}never\u{0}");
        let code = self.child.wait().expect("wait").code();
        (self.seen, code)
    }
}

#[test]
fn yes_goes_on_and_no_withdraws() {
    let bus = Bus::start();
    let daemon = Daemon::start(&bus, install());
    let mut terminal = Terminal::start(&bus, "install hello");
    assert!(terminal.until("Continue? [Y/n] "), "{}", terminal.seen);
    terminal.answer("\n");
    let (seen, code) = terminal.end();
    assert_eq!(code, Some(0), "{seen}");
    assert!(seen.contains("\u{1b}[32mDone:\u{1b}[0m 1 installed (hello)."), "{seen}");
    assert_eq!(daemon.calls().last().map(String::as_str), Some("Execute d1 interactive"));

    let mut terminal = Terminal::start(&bus, "install hello");
    assert!(terminal.until("Continue? [Y/n] "), "{}", terminal.seen);
    terminal.answer("n\n");
    let (seen, code) = terminal.end();
    assert_eq!(code, Some(11), "{seen}");
    assert_eq!(daemon.calls().last().map(String::as_str), Some("Cancel"));
}

#[test]
fn a_terminal_has_colours_unless_they_are_unwanted() {
    let bus = Bus::start();
    let _daemon = Daemon::start(&bus, install());
    let (seen, _) = Terminal::start(&bus, "plan install hello").end();
    assert!(seen.contains("\u{1b}[1mAction \u{1b}[0m") || seen.contains("\u{1b}[1mAction\u{1b}[0m"), "{seen:?}");
    let output = crate::run(&bus, "plan install hello");
    assert_eq!(crate::out(&output), PLAN);
}
