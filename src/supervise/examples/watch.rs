//! Runs a command under guard and prints every change before it is made.
//!
//! `cargo run -p backstep-supervise --example watch -- COMMAND [ARGUMENT…]`
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "an example")]

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use backstep_supervise::{Change, Rules, Scope, Sink, Verdict, enter, guard, prepare};

struct Print;

impl Sink for Print {
    fn before(&mut self, change: &Change) -> Verdict {
        eprintln!("{change:?}");
        Verdict::Continue
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args[0] == "--guard" {
        let rules = Rules { exclude: ["/proc", "/sys", "/dev"].map(Into::into).into(), done: None };
        eprintln!("{:?}", guard(prepare().unwrap(), &rules, &mut Print).unwrap());
    } else {
        enter(Command::new(std::env::current_exe().unwrap()).arg("--guard"), Scope::All).unwrap();
        panic!("{}", Command::new(&args[0]).args(&args[1..]).exec());
    }
}
