//! What the tests of this crate share.

use std::fs;
use std::path::Path;

use backstep_core::{Archive, ArchiveSource, AttemptId, Digest, Kind, Method, Options, Plan, PlanAction, PlanItem, Reason, UndoQuality};

use crate::child::{Call, Children, Processes, Unwatched};

pub(crate) fn attempt(number: u32) -> AttemptId {
    AttemptId { transaction: "01936b2e-7c1a-7d3e-9f10-0123456789ab".parse().expect("id"), number }
}

pub(crate) fn archive(file_name: &str, content: &[u8]) -> Archive {
    let (size, sha256) = (content.len() as u64, backstep_wire::digest(content));
    Archive { source: ArchiveSource::Repository, origin: "test".into(), file_name: file_name.into(), size, sha256, trusted: true }
}

pub(crate) fn item(package: &str, action: PlanAction, from: Option<&str>, to: Option<&str>) -> PlanItem {
    PlanItem {
        package: package.parse().expect("id"),
        action,
        reason: Reason::Requested,
        from: from.map(|version| version.parse().expect("version")),
        to: to.map(|version| version.parse().expect("version")),
        archive: None,
        installed_delta: 0,
        auto_before: false,
        auto_after: false,
        essential: false,
        leftovers: false,
        undo: UndoQuality::Exact,
    }
}

pub(crate) fn plan_of(items: Vec<PlanItem>) -> Plan {
    Plan {
        transaction: attempt(1).transaction,
        kind: Kind::Install,
        request: Digest([1; 32]),
        world: Digest([2; 32]),
        method: Method::Packages,
        options: Options::default(),
        items,
        marks: Vec::new(),
        restores: Vec::new(),
        download_bytes: 0,
        warnings: Vec::new(),
    }
}

pub(crate) fn plan() -> Plan {
    plan_of(vec![item("aa:all", PlanAction::Install, None, Some("1"))])
}

/// Makes a program of this text, with its folder; `scratch` is a folder of the test's. Another program makes the file, so that no child of
/// another test has it open for writing when it is run.
pub(crate) fn install(scratch: &Path, at: &Path, mode: &str, text: &str) {
    let draft = scratch.join("draft");
    fs::write(&draft, text).expect("draft");
    let children =
        Processes::new(vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())], attempt(1).transaction, &scratch.join("install.log"));
    let arguments = ["-D".to_owned(), format!("--mode={mode}"), draft.display().to_string(), at.display().to_string()];
    let ended = children.run(Call::new("install", arguments), &mut Unwatched).expect("install");
    assert!(ended.is_success(), "{ended}");
}
