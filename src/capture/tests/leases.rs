//! Files that their owner has a lease on: one test, because all waiting of a process shares its patience. Needs root.
#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods)]

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use backstep_capture::{CaptureDir, Late, RestoreMode, Secured, Selection, compare, record_after, restore, secure};
use common::{Place, is_root};

/// A program that has a lease on a file (`F_SETLEASE`, `F_WRLCK`), until it is dropped.
struct Lease(Child);

impl Lease {
    /// `when_asked` is what it does when somebody wants to open the file.
    fn on(file: &Path, when_asked: &str) -> Self {
        let program = format!(
            "open F, '+<', $ARGV[0] or die $!; $SIG{{IO}} = {when_asked}; fcntl(F, 1024, 1) or die $!; $| = 1; print qq(held\\n); <STDIN>"
        );
        let mut command = Command::new("perl");
        let mut child = command.arg("-e").arg(program).arg(file).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "held\n");
        Self(child)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.kill().and_then(|()| self.0.wait()).unwrap();
    }
}

const LETS_GO: &str = "sub { fcntl(F, 1024, 2) }";
const NEVER: &str = "'IGNORE'";

fn take(place: &Place, file: &Path) -> Result<(CaptureDir, Secured), backstep_capture::CaptureError> {
    let dir = CaptureDir::create(&place.capture())?;
    let selection = Selection { copy: [file.parent().unwrap().to_path_buf()].into(), ..Selection::default() };
    let secured = secure(&place.root(), &dir, &selection, &mut |_, _| {})?;
    Ok((dir, secured))
}

fn somebodys() -> Place {
    let place = Place::new();
    chown(place.file("etc/svc/file", "theirs"), Some(1000), None).unwrap();
    place
}

fn put_back(place: &Place, dir: &CaptureDir) {
    let restored = restore(&place.root(), dir, RestoreMode::Everything, &mut |_, _| {}).unwrap();
    assert!(restored.failed.is_empty(), "{:?}", restored.failed);
    assert_eq!(fs::read_to_string(place.at("etc/svc/file")).unwrap(), "theirs");
    assert_eq!(compare(&place.root(), dir).unwrap(), []);
}

#[test]
fn a_lease_stops_neither_a_capture_nor_a_script_that_removes_the_file() {
    if !is_root("a file of somebody's") {
        return;
    }
    let begun = Instant::now();
    let file = Path::new("/etc/svc/file");

    // Who lets go when asked is waited for, and the file is copied as without.
    let place = somebodys();
    let lease = Lease::on(&place.at("etc/svc/file"), LETS_GO);
    let (dir, secured) = take(&place, file).unwrap();
    assert_eq!((secured.links, secured.left_out.len()), (0, 0));
    fs::write(place.at("etc/svc/file"), "written in place").unwrap();
    put_back(&place, &dir);
    drop(lease);

    // Who does not is not waited for long: a link must do.
    let place = somebodys();
    let lease = Lease::on(&place.at("etc/svc/file"), NEVER);
    let (dir, secured) = take(&place, file).unwrap();
    assert_eq!((secured.links, secured.left_out.len()), (1, 0));
    record_after(&place.root(), &dir).unwrap();
    fs::remove_file(place.at("etc/svc/file")).unwrap();
    drop(lease);
    put_back(&place, &dir);

    // A script removes what nobody foresaw, and then what it cannot be kept from writing to.
    let place = somebodys();
    chown(place.file("etc/svc/other", "other"), Some(1000), None).unwrap();
    let dir = CaptureDir::create(&place.capture()).unwrap();
    secure(&place.root(), &dir, &Selection::default(), &mut |_, _| {}).unwrap();
    let leases = [Lease::on(&place.at("etc/svc/file"), NEVER), Lease::on(&place.at("etc/svc/other"), NEVER)];
    let mut late = Late::open(&place.root(), &dir).unwrap();
    late.before_remove(file).unwrap();
    fs::remove_file(place.at("etc/svc/file")).unwrap();
    late.before_write(Path::new("/etc/svc/other")).unwrap();
    let summary = late.finish().unwrap();
    let left_out: Vec<String> = summary.left_out.iter().map(ToString::to_string).collect();
    assert_eq!(left_out, ["/etc/svc/other (Resource temporarily unavailable (os error 11))"]);
    drop(leases);
    put_back(&place, &dir);

    // Root's own still stops what cannot be undone.
    let place = Place::new();
    let _lease = Lease::on(&place.file("etc/svc/file", "root's"), NEVER);
    let error = take(&place, file).map(drop).unwrap_err();
    assert_eq!(error.to_string(), "cannot open etc/svc/file");
    assert!(begun.elapsed() < Duration::from_secs(20), "all waiting together is bounded");
}
