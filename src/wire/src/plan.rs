//! The plan document: frozen bytes with a digest.

use backstep_core::{
    Archive, ArchiveSource, Digest, Kind, Method, PackageId, Plan, PlanAction, PlanItem, Reason, TransactionId, UndoQuality, Version,
};
use serde::{Deserialize, Serialize};

use crate::request::WireOptions;
use crate::{WireError, bytes_of, check_version, json, text};

const VERSION: u32 = 1;
const WHAT: &str = "plan";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WirePlan {
    version: u32,
    #[serde(with = "text")]
    transaction: TransactionId,
    #[serde(with = "text")]
    kind: Kind,
    #[serde(with = "text")]
    request: Digest,
    #[serde(with = "text")]
    world: Digest,
    method: WireMethod,
    options: WireOptions,
    items: Vec<WireItem>,
    marks: Vec<WireMark>,
    download_bytes: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    restores: Vec<WireId>,
    warnings: Vec<String>,
}

/// An identity in a list.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct WireId(#[serde(with = "text")] TransactionId);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
enum WireMethod {
    Packages,
    Marks,
    Restore(#[serde(with = "text")] TransactionId),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireMark {
    #[serde(with = "text")]
    package: PackageId,
    auto: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireItem {
    #[serde(with = "text")]
    package: PackageId,
    #[serde(with = "text")]
    action: PlanAction,
    #[serde(with = "text")]
    reason: Reason,
    #[serde(with = "text::option")]
    from: Option<Version>,
    #[serde(with = "text::option")]
    to: Option<Version>,
    archive: Option<WireArchive>,
    installed_delta: i64,
    auto_before: bool,
    auto_after: bool,
    essential: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    leftovers: bool,
    undo: WireUndo,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireArchive {
    #[serde(with = "text")]
    source: ArchiveSource,
    origin: String,
    file_name: String,
    size: u64,
    #[serde(with = "text")]
    sha256: Digest,
    trusted: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
enum WireUndo {
    Exact,
    BestEffort(String),
    Impossible(String),
}

impl From<&PlanItem> for WireItem {
    fn from(i: &PlanItem) -> Self {
        Self {
            package: i.package.clone(),
            action: i.action,
            reason: i.reason,
            from: i.from.clone(),
            to: i.to.clone(),
            archive: i.archive.as_ref().map(|a| WireArchive {
                source: a.source,
                origin: a.origin.clone(),
                file_name: a.file_name.clone(),
                size: a.size,
                sha256: a.sha256,
                trusted: a.trusted,
            }),
            installed_delta: i.installed_delta,
            auto_before: i.auto_before,
            auto_after: i.auto_after,
            essential: i.essential,
            leftovers: i.leftovers,
            undo: match &i.undo {
                UndoQuality::Exact => WireUndo::Exact,
                UndoQuality::BestEffort(why) => WireUndo::BestEffort(why.clone()),
                UndoQuality::Impossible(why) => WireUndo::Impossible(why.clone()),
            },
        }
    }
}

impl From<WireItem> for PlanItem {
    fn from(i: WireItem) -> Self {
        Self {
            package: i.package,
            action: i.action,
            reason: i.reason,
            from: i.from,
            to: i.to,
            archive: i.archive.map(|a| Archive {
                source: a.source,
                origin: a.origin,
                file_name: a.file_name,
                size: a.size,
                sha256: a.sha256,
                trusted: a.trusted,
            }),
            installed_delta: i.installed_delta,
            auto_before: i.auto_before,
            auto_after: i.auto_after,
            essential: i.essential,
            leftovers: i.leftovers,
            undo: match i.undo {
                WireUndo::Exact => UndoQuality::Exact,
                WireUndo::BestEffort(why) => UndoQuality::BestEffort(why),
                WireUndo::Impossible(why) => UndoQuality::Impossible(why),
            },
        }
    }
}

impl From<&Plan> for WirePlan {
    fn from(p: &Plan) -> Self {
        Self {
            version: VERSION,
            transaction: p.transaction,
            kind: p.kind,
            request: p.request,
            world: p.world,
            method: match p.method {
                Method::Packages => WireMethod::Packages,
                Method::Marks => WireMethod::Marks,
                Method::Restore(id) => WireMethod::Restore(id),
            },
            options: (&p.options).into(),
            items: p.items.iter().map(WireItem::from).collect(),
            marks: p.marks.iter().map(|(package, auto)| WireMark { package: package.clone(), auto: *auto }).collect(),
            download_bytes: p.download_bytes,
            restores: p.restores.iter().copied().map(WireId).collect(),
            warnings: p.warnings.clone(),
        }
    }
}

impl WirePlan {
    pub(crate) fn check(self) -> Result<Plan, WireError> {
        check_version(WHAT, self.version, VERSION)?;
        Ok(Plan {
            transaction: self.transaction,
            kind: self.kind,
            request: self.request,
            world: self.world,
            method: match self.method {
                WireMethod::Packages => Method::Packages,
                WireMethod::Marks => Method::Marks,
                WireMethod::Restore(id) => Method::Restore(id),
            },
            options: self.options.into(),
            items: self.items.into_iter().map(PlanItem::from).collect(),
            marks: self.marks.into_iter().map(|m| (m.package, m.auto)).collect(),
            download_bytes: self.download_bytes,
            restores: self.restores.into_iter().map(|id| id.0).collect(),
            warnings: self.warnings,
        })
    }
}

/// The document of a plan. Equal plans have equal bytes.
#[must_use]
pub fn to_bytes(plan: &Plan) -> Vec<u8> {
    bytes_of(&WirePlan::from(plan))
}

/// Reads a document back.
pub fn from_bytes(bytes: &[u8]) -> Result<Plan, WireError> {
    json::<WirePlan>(WHAT, bytes)?.check()
}

#[cfg(test)]
mod tests {
    use super::*;
    use backstep_core::Options;

    #[test]
    fn a_plan_keeps_everything() {
        let item = PlanItem {
            package: "hello:amd64".parse().expect("id"),
            action: PlanAction::Upgrade,
            reason: Reason::Requested,
            from: Some("1".parse().expect("version")),
            to: Some("2".parse().expect("version")),
            archive: Some(Archive {
                source: ArchiveSource::Repository,
                origin: "Debian:12/stable".into(),
                file_name: "hello_2_amd64.deb".into(),
                size: 7,
                sha256: Digest([3; 32]),
                trusted: true,
            }),
            installed_delta: -5,
            auto_before: true,
            auto_after: false,
            essential: true,
            leftovers: true,
            undo: UndoQuality::BestEffort("a database".into()),
        };
        let id: TransactionId = "01936b2e-7c1a-7d3e-9f10-0123456789ab".parse().expect("id");
        for method in [Method::Packages, Method::Marks, Method::Restore(id)] {
            let plan = Plan {
                transaction: id,
                kind: Kind::Upgrade,
                request: Digest([1; 32]),
                world: Digest([2; 32]),
                method,
                options: Options::default(),
                items: vec![item.clone()],
                marks: vec![("dep:all".parse().expect("id"), true)],
                restores: if method == Method::Marks { vec![id] } else { Vec::new() },
                download_bytes: 7,
                warnings: vec!["careful".into()],
            };
            assert_eq!(from_bytes(&to_bytes(&plan)).expect("read"), plan);
        }
    }
}
