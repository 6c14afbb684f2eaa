//! What being guarded costs: creates and renames many files, free and under guard.
//!
//! `cargo run --release -p backstep-supervise --example cost -- DIRECTORY`
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a measurement")]

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use backstep_supervise::{Change, Rules, Scope, Sink, Verdict, enter, guard, prepare};

const FILES: u32 = 20_000;

struct Nothing;

impl Sink for Nothing {
    fn before(&mut self, _: &Change) -> Verdict {
        Verdict::Continue
    }
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    match args[1].as_str() {
        "guard" => {
            let socket = prepare().unwrap();
            let rules = Rules { exclude: ["/proc", "/sys"].map(Into::into).into(), done: None };
            let seen = guard(socket, &rules, &mut Nothing).unwrap();
            let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
            let used = Duration::new(used.tv_sec as u64, used.tv_nsec as u32);
            eprintln!("{seen:?}, {:?} of processor time each", used / seen.notifications as u32);
        }
        directory => measure(Path::new(directory)),
    }
}

fn measure(directory: &Path) {
    round(directory);
    let free = round(directory);
    println!("free: {} us a file", free.as_micros() / u128::from(FILES));
    for scope in [Scope::All] {
        enter(Command::new(std::env::current_exe().unwrap()).arg("guard"), scope).unwrap();
        for _ in 0..3 {
            let guarded = round(directory);
            let each = guarded.saturating_sub(free) / (2 * FILES);
            println!("{scope:?}: {} us a file, {:?} more for each of its two calls", guarded.as_micros() / u128::from(FILES), each);
        }
    }
}

/// As dpkg unpacks: a new file beside, then a rename.
fn round(directory: &Path) -> Duration {
    let start = Instant::now();
    for number in 0..FILES {
        let (beside, name) = (directory.join(format!("{number}.dpkg-new")), directory.join(number.to_string()));
        std::fs::File::create_new(&beside).unwrap();
        std::fs::rename(&beside, &name).unwrap();
    }
    start.elapsed()
}
