//! Sync suppression, seen from a thread under the filter and from the programs it starts. A sync call that the kernel
//! would refuse (a pipe has nothing to sync) shows whether the kernel was asked.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests set their scene with plain calls")]

mod common;

use std::process::Command;
use std::thread;

use backstep_supervise::suppress_sync;
use rustix::io::Errno;

/// A filter holds for one thread: each test gets a thread of its own to spoil.
fn under_filter<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    thread::spawn(move || {
        suppress_sync().unwrap();
        work()
    })
    .join()
    .unwrap()
}

fn sync_of_a_pipe() -> [Result<(), Errno>; 3] {
    let (_, pipe) = std::io::pipe().unwrap();
    let (_, socket) = std::os::unix::net::UnixStream::pair().unwrap();
    [rustix::fs::fsync(&pipe), rustix::fs::fdatasync(&pipe), rustix::fs::fsync(&socket)]
}

/// `dd` asks for a sync at its end and fails if it is refused.
fn dd_syncs_a_pipe(how: &str) -> bool {
    let script = format!("dd if=/dev/zero bs=1 count=1 conv={how} status=none 2>/dev/null | cat >/dev/null; exit ${{PIPESTATUS[0]}}");
    Command::new("bash").args(["-c", &script]).status().unwrap().success()
}

#[test]
fn the_kernel_is_asked_without_the_filter_and_not_asked_under_it() {
    assert_eq!(sync_of_a_pipe(), [Err(Errno::INVAL); 3]);
    assert_eq!(under_filter(sync_of_a_pipe), [Ok(()); 3]);
    assert_eq!(sync_of_a_pipe(), [Err(Errno::INVAL); 3], "other threads are left alone");
}

#[test]
fn programs_inherit_the_filter() {
    for how in ["fsync", "fdatasync"] {
        assert!(!dd_syncs_a_pipe(how), "{how} on a pipe is refused by the kernel");
        assert!(under_filter(move || dd_syncs_a_pipe(how)), "{how}");
    }
}

#[test]
fn programs_of_another_architecture_are_covered() {
    let place = tempfile::tempdir().unwrap();
    let program = place.path().join("sync32");
    common::write_i386_program(&program, 118, [Some(u32::MAX), Some(0), Some(0), Some(0)], b"");
    let run = move || Command::new(&program).status().map(|status| status.code());
    match run() {
        Ok(code) => assert_eq!(code, Some(Errno::BADF.raw_os_error())),
        Err(none) => return println!("this kernel runs no 32-bit programs: {none}"),
    }
    assert_eq!(under_filter(run).unwrap(), Some(0));
}

#[test]
fn privileges_can_still_be_gained() {
    let status = under_filter(|| Command::new("grep").args(["NoNewPrivs", "/proc/self/status"]).output().unwrap());
    assert_eq!(String::from_utf8(status.stdout).unwrap(), "NoNewPrivs:\t0\n");
}
