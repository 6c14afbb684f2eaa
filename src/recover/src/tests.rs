use std::fs;
use std::path::PathBuf;

use backstep_capture::{CaptureDir, Selection, secure};
use backstep_core::{Digest, Direction, ErrorCode, Retention};
use backstep_wire::journal::{Line, Record, to_line};
use backstep_wire::order::{Order, to_bytes};

use super::*;

const EARLIER: &str = "5b0d3d2c-8a35-4b4e-9e2b-0f3b1c6f7a10";

/// A system of three files, one of them new since, and an attempt that was cut.
struct Place {
    _folder: tempfile::TempDir,
    root: PathBuf,
    state: PathBuf,
}

fn id(number: u32) -> AttemptId {
    format!("01936b2e-7c1a-7d3e-9f10-0123456789ab-{number}").parse().expect("id")
}

impl Place {
    fn cut() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let (root, state) = (folder.path().join("root"), folder.path().join("state"));
        fs::create_dir_all(root.join("lib")).expect("folder");
        fs::create_dir_all(root.join("etc")).expect("folder");
        fs::write(root.join("lib/libc"), "old").expect("file");
        let place = Self { _folder: folder, root, state };
        place.attempt(1, Direction::Forward, &[begun(EARLIER)]);
        let capture = CaptureDir::create(&place.state.join("capture").join(id(1).to_string())).expect("capture");
        let selection = Selection {
            link: ["/lib/libc".into()].into(),
            absent: ["/lib/extra".into()].into(),
            copy: ["/etc".into()].into(),
            ..Selection::default()
        };
        let _ = secure(&place.root, &capture, &selection, &mut |_, _| {}).expect("secure");
        fs::remove_file(place.root.join("lib/libc")).expect("remove");
        for (name, content) in [("lib/libc", ""), ("lib/extra", ""), ("etc/mine", "somebody's")] {
            fs::write(place.root.join(name), content).expect("torn");
        }
        place
    }

    fn folder(&self, number: u32) -> PathBuf {
        self.state.join("attempts").join(id(number).to_string())
    }

    fn files(&self, number: u32) -> AttemptFiles {
        AttemptFiles::in_folder(&self.folder(number))
    }

    fn attempt(&self, number: u32, direction: Direction, records: &[Record]) {
        let folder = self.folder(number);
        fs::create_dir_all(&folder).expect("folder");
        let restore = (direction == Direction::Undo).then(|| id(1));
        let (later, retention) = (Vec::new(), Retention::default());
        let order = Order { attempt: id(number), plan: Digest([1; 32]), direction, restore, later, retention };
        fs::write(folder.join("order.json"), to_bytes(&order)).expect("order");
        let lines = records.iter().zip(1..).flat_map(|(record, seq)| to_line(&Line { seq, utc_us: 0, record: record.clone() }));
        fs::write(folder.join("attempt.jsonl"), lines.collect::<Vec<_>>()).expect("journal");
        fs::write(AttemptFiles::in_folder(&folder).unsynced(), "").expect("mark");
    }

    fn run(&self) -> Vec<Outcome> {
        recover(&self.root, &self.state).expect("recover")
    }

    fn is_torn(&self) -> bool {
        fs::read(self.root.join("lib/libc")).expect("file").is_empty()
    }

    fn expect_left(&self, why: &str) {
        let outcomes = self.run();
        assert!(outcomes.iter().any(|outcome| outcome.to_string().contains(why)), "{outcomes:?}");
        assert!(self.is_torn(), "{why}");
        assert!(self.files(1).unsynced().exists(), "{why}");
    }
}

fn begun(boot: &str) -> Record {
    let digest = Digest([1; 32]);
    Record::Begin { plan: digest, world: digest, boot: boot.parse().expect("id"), direction: Direction::Forward }
}

#[test]
fn torn_files_are_put_back_and_what_somebody_made_stays() {
    let place = Place::cut();
    let outcomes = place.run();
    assert!(matches!(&outcomes[..], [Outcome::PutBack { failed, .. }] if failed.is_empty()), "{outcomes:?}");
    assert_eq!(fs::read_to_string(place.root.join("lib/libc")).expect("file"), "old");
    assert!(!place.root.join("lib/extra").exists(), "what the change brought may be torn");
    assert_eq!(fs::read_to_string(place.root.join("etc/mine")).expect("file"), "somebody's");
    let word = fs::read_to_string(place.files(1).early()).expect("word");
    assert_eq!(word, "2 paths were put back before the system started, 0 could not be\n");
    assert_eq!(place.run(), [], "once is enough");
}

#[test]
fn a_second_run_over_the_same_mark_finds_nothing_to_do() {
    let place = Place::cut();
    drop(place.run());
    fs::write(place.files(1).unsynced(), "").expect("mark");
    assert!(matches!(place.run()[..], [Outcome::PutBack { paths: 0, .. }]));
}

#[test]
fn without_a_mark_nothing_is_touched() {
    let place = Place::cut();
    fs::remove_file(place.files(1).unsynced()).expect("remove");
    assert_eq!(place.run(), []);
    assert!(place.is_torn());
}

#[test]
fn an_attempt_of_this_boot_is_the_daemons() {
    let place = Place::cut();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("boot");
    place.attempt(1, Direction::Forward, &[begun(boot.trim())]);
    place.expect_left("it began in this boot");
}

#[test]
fn what_has_ended_is_left_alone() {
    let digest = Digest([1; 32]);
    let stuck = Record::Stuck { code: ErrorCode::UndoMaterial, text: String::new() };
    for end in [Record::Committed { world: digest }, Record::Aborted { differences: Vec::new() }, stuck] {
        let place = Place::cut();
        place.attempt(1, Direction::Forward, &[begun(EARLIER), end]);
        place.expect_left("it has ended");
    }
}

#[test]
fn a_living_worker_is_left_alone() {
    let place = Place::cut();
    let file = File::create(place.folder(1).join("lock")).expect("lock");
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).expect("lock");
    place.expect_left("its worker lives");
}

#[test]
fn what_a_person_decides_about_is_left_alone() {
    let place = Place::cut();
    fs::create_dir_all(place.folder(2)).expect("folder");
    fs::create_dir_all(place.folder(3)).expect("folder");
    place.expect_left("a person decides about it");
}

#[test]
fn a_second_attempt_that_was_cut_too_does_not_keep_it_from_being_put_back() {
    let place = Place::cut();
    place.attempt(2, Direction::Undo, &[begun(EARLIER)]);
    let outcomes = place.run();
    assert!(matches!(outcomes[..], [Outcome::Left { .. }, Outcome::PutBack { .. }]), "{outcomes:?}");
}

#[test]
fn an_incomplete_capture_means_that_nothing_was_changed() {
    let place = Place::cut();
    fs::remove_file(place.state.join("capture").join(id(1).to_string()).join("manifest")).expect("remove");
    place.expect_left("no complete capture");
}
