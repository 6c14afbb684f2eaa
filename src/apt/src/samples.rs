//! Plans for this crate's tests.

use backstep_core::{Archive, ArchiveSource, Digest, Kind, Method, Options, Plan, PlanAction, PlanItem, Reason, UndoQuality};

pub(crate) fn archive(source: ArchiveSource) -> Archive {
    Archive { source, origin: String::new(), file_name: "x.deb".into(), size: 1, sha256: Digest([7; 32]), trusted: false }
}

pub(crate) fn item(action: PlanAction, package: &str, from: Option<&str>, to: Option<&str>) -> PlanItem {
    PlanItem {
        package: package.parse().expect("id"),
        action,
        reason: Reason::Requested,
        from: from.map(|text| text.parse().expect("version")),
        to: to.map(|text| text.parse().expect("version")),
        archive: action.needs_archive().then(|| archive(ArchiveSource::Repository)),
        installed_delta: 0,
        auto_before: false,
        auto_after: false,
        essential: false,
        leftovers: false,
        undo: UndoQuality::Exact,
    }
}

pub(crate) fn plan(items: Vec<PlanItem>) -> Plan {
    Plan {
        transaction: "01936b2e-7c1a-7d3e-9f10-0123456789ab".parse().expect("id"),
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
