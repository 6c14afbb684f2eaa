//! The request document: what is stored verbatim and digested.

use backstep_core::request::{ConffilePolicy, OnFailure, ServicePolicy};
use backstep_core::{
    Architecture, Digest, ItemAction, Kind, LocalArchive, Options, PackageName, Request, RequestItem, Tags, TransactionId, Version,
};
use serde::{Deserialize, Serialize};

use crate::{WireError, bytes_of, check_version, json, text};

const VERSION: u32 = 1;
const WHAT: &str = "request";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireRequest {
    version: u32,
    #[serde(with = "text")]
    kind: Kind,
    description: String,
    #[serde(default, skip_serializing_if = "Tags::is_empty", with = "text::tags")]
    tags: Tags,
    items: Vec<WireItem>,
    archives: Vec<WireArchive>,
    #[serde(with = "text::option")]
    reverts: Option<TransactionId>,
    #[serde(with = "text::option")]
    retries: Option<TransactionId>,
    options: WireOptions,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireItem {
    #[serde(with = "text")]
    action: ItemAction,
    #[serde(with = "text")]
    package: PackageName,
    #[serde(with = "text::option")]
    arch: Option<Architecture>,
    #[serde(with = "text::option")]
    version: Option<Version>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireArchive {
    #[serde(with = "text")]
    sha256: Digest,
    size: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireOptions {
    recommends: Option<bool>,
    autoremove: bool,
    allow_downgrade: bool,
    allow_remove_essential: bool,
    override_hold: bool,
    allow_irreversible: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    undo_later: bool,
    #[serde(with = "text")]
    on_failure: OnFailure,
    #[serde(with = "text")]
    services: ServicePolicy,
    #[serde(with = "text")]
    conffiles: ConffilePolicy,
    lock_timeout_s: u32,
    priority: i32,
}

impl From<&Options> for WireOptions {
    fn from(o: &Options) -> Self {
        Self {
            recommends: o.recommends,
            autoremove: o.autoremove,
            allow_downgrade: o.allow_downgrade,
            allow_remove_essential: o.allow_remove_essential,
            override_hold: o.override_hold,
            allow_irreversible: o.allow_irreversible,
            undo_later: o.undo_later,
            on_failure: o.on_failure,
            services: o.services,
            conffiles: o.conffiles,
            lock_timeout_s: o.lock_timeout_s,
            priority: o.priority,
        }
    }
}

impl From<WireOptions> for Options {
    fn from(o: WireOptions) -> Self {
        Self {
            recommends: o.recommends,
            autoremove: o.autoremove,
            allow_downgrade: o.allow_downgrade,
            allow_remove_essential: o.allow_remove_essential,
            override_hold: o.override_hold,
            allow_irreversible: o.allow_irreversible,
            undo_later: o.undo_later,
            on_failure: o.on_failure,
            services: o.services,
            conffiles: o.conffiles,
            lock_timeout_s: o.lock_timeout_s,
            priority: o.priority,
        }
    }
}

impl From<&Request> for WireRequest {
    fn from(r: &Request) -> Self {
        let item =
            |i: &RequestItem| WireItem { action: i.action, package: i.name.clone(), arch: i.arch.clone(), version: i.version.clone() };
        Self {
            version: VERSION,
            kind: r.kind,
            description: r.description.clone(),
            tags: r.tags.clone(),
            items: r.items.iter().map(item).collect(),
            archives: r.archives.iter().map(|a| WireArchive { sha256: a.sha256, size: a.size }).collect(),
            reverts: r.reverts,
            retries: r.retries,
            options: (&r.options).into(),
        }
    }
}

impl From<WireRequest> for Request {
    fn from(r: WireRequest) -> Self {
        let item = |i: WireItem| RequestItem { action: i.action, name: i.package, arch: i.arch, version: i.version };
        Self {
            kind: r.kind,
            description: r.description,
            tags: r.tags,
            items: r.items.into_iter().map(item).collect(),
            archives: r.archives.into_iter().map(|a| LocalArchive { sha256: a.sha256, size: a.size }).collect(),
            reverts: r.reverts,
            retries: r.retries,
            options: r.options.into(),
        }
    }
}

impl WireRequest {
    pub(crate) fn check(self) -> Result<Request, WireError> {
        check_version(WHAT, self.version, VERSION)?;
        Ok(self.into())
    }
}

/// The document of a request. Equal requests have equal bytes.
#[must_use]
pub fn to_bytes(request: &Request) -> Vec<u8> {
    bytes_of(&WireRequest::from(request))
}

/// Reads a document back; does not validate across fields ([`Request::validate`] does).
pub fn from_bytes(bytes: &[u8]) -> Result<Request, WireError> {
    json::<WireRequest>(WHAT, bytes)?.check()
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn sample() -> Request {
        Request {
            kind: Kind::Install,
            description: "for the demo".into(),
            tags: Tags::new(&["ticket:4711", "env=prod"]).expect("tags"),
            items: vec![RequestItem {
                action: ItemAction::Install,
                name: "hello".parse().expect("name"),
                arch: None,
                version: Some("2.10-3".parse().expect("version")),
            }],
            archives: vec![LocalArchive { sha256: Digest([1; 32]), size: 9 }],
            reverts: None,
            retries: None,
            options: Options { recommends: Some(false), ..Options::default() },
        }
    }

    #[test]
    fn a_request_keeps_everything() {
        assert_eq!(from_bytes(&to_bytes(&sample())).expect("read"), sample());
    }

    #[test]
    fn a_request_without_tags_has_the_bytes_that_it_had_before_there_were_any() {
        let bytes = br#"{"version":1,"kind":"upgrade","description":"","items":[],"archives":[],"reverts":null,"retries":null,"options":{"recommends":null,"autoremove":false,"allow_downgrade":false,"allow_remove_essential":false,"override_hold":false,"allow_irreversible":false,"on_failure":"rollback","services":"undo","conffiles":"keep","lock_timeout_s":120,"priority":0}}"#;
        let read = from_bytes(bytes).expect("read");
        assert!(read.tags.is_empty());
        assert_eq!(String::from_utf8_lossy(&to_bytes(&read)), String::from_utf8_lossy(bytes));
    }

    #[test]
    fn tags_are_part_of_what_is_digested_and_their_order_is_not() {
        let tagged = |tags: &[&str]| to_bytes(&Request { tags: Tags::new(tags).expect("tags"), ..sample() });
        assert_eq!(tagged(&["b", "a"]), tagged(&["a", "b"]));
        assert_ne!(tagged(&["a"]), tagged(&["b"]));
        assert!(String::from_utf8_lossy(&tagged(&["b", "a"])).contains(r#""tags":["a","b"]"#));
    }

    #[test]
    fn unknown_fields_names_and_versions_are_refused() {
        let text = String::from_utf8(to_bytes(&sample())).expect("utf-8");
        for (from, to) in [
            ("\"version\":1,\"kind\"", "\"version\":2,\"kind\""),
            ("\"kind\":\"install\"", "\"kind\":\"explode\""),
            ("\"description\"", "\"hook\":\"x\",\"description\""),
            ("\"hello\"", "\"hello-*\""),
            ("\"env=prod\"", "\"--env\""),
            ("\"env=prod\"", "\"ticket:4711\""),
        ] {
            let bad = text.replacen(from, to, 1);
            assert_ne!(bad, text, "{from}");
            assert!(from_bytes(bad.as_bytes()).is_err(), "{to}");
        }
    }
}
