//! Sources: from which repositories the administrator lets packages come.
//!
//! apt asks whether a repository is signed by a trusted key; this asks whether it is one of those that this machine is meant to
//! have. Looked at are the archives that a plan takes from repositories: one that is handed over needs a permission of its own,
//! one that is kept or rebuilt was here before. Invariant: without a list every repository is known.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::count::named;
use crate::{ArchiveSource, ErrorCode, Failure, Plan, UnknownName};

/// Packages that are named before the rest is only counted.
const MAX_NAMED: usize = 10;

closed_enum! {
    /// What becomes of a plan that takes something from another repository.
    pub enum OtherSources("choice") {
        /// It is said.
        Warn = "warn",
        /// It is refused.
        Refuse = "refuse",
    }
}

/// A repository as plans name it, `ORIGIN/SUITE`; a `*` at the end stands for anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourcePattern(String);

impl FromStr for SourcePattern {
    type Err = UnknownName;
    fn from_str(text: &str) -> Result<Self, UnknownName> {
        let start = text.strip_suffix('*').unwrap_or(text);
        if text.is_empty() || start.contains('*') || text.chars().any(char::is_control) {
            return Err(UnknownName { what: "source", name: text.chars().take(80).collect() });
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for SourcePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl SourcePattern {
    fn is(&self, origin: &str) -> bool {
        self.0.strip_suffix('*').map_or(self.0 == origin, |start| origin.starts_with(start))
    }
}

/// What the administrator chose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sources {
    /// The repositories that this machine is meant to have; all without.
    pub known: Option<Vec<SourcePattern>>,
    /// What becomes of others.
    pub others: OtherSources,
}

impl Default for Sources {
    fn default() -> Self {
        Self { known: None, others: OtherSources::Warn }
    }
}

impl Sources {
    /// What is to be said of a plan; refused as `trust.source` where others are.
    pub fn check(&self, plan: &Plan) -> Result<Option<String>, Failure> {
        let others = self.others(plan);
        if others.is_empty() {
            return Ok(None);
        }
        let text =
            others.iter().map(|(origin, packages)| format!("{} from {origin}", named(packages, MAX_NAMED))).collect::<Vec<_>>().join("; ");
        let text = format!("no source of this machine: {text}");
        match self.others {
            OtherSources::Warn => Ok(Some(text)),
            OtherSources::Refuse => Err(Failure::new(ErrorCode::TrustSource, text)),
        }
    }

    /// Packages of each repository that is not known, in the order of the plan.
    fn others<'a>(&self, plan: &'a Plan) -> BTreeMap<&'a str, Vec<&'a str>> {
        let mut others: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (item, archive) in plan.items.iter().filter_map(|item| Some((item, item.archive.as_ref()?))) {
            let is_known = |known: &Vec<SourcePattern>| known.iter().any(|pattern| pattern.is(&archive.origin));
            if archive.source == ArchiveSource::Repository && !self.known.as_ref().is_none_or(is_known) {
                let origin = if archive.origin.is_empty() { "a source without a name" } else { &archive.origin };
                others.entry(origin).or_default().push(item.package.name.as_str());
            }
        }
        others
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::tests::plan;
    use crate::{Archive, Digest, Kind, PlanAction};

    fn from(origins: &[(&str, ArchiveSource)]) -> Plan {
        let mut plan = plan(Kind::Install, &vec![PlanAction::Install; origins.len()]);
        for (number, (item, (origin, source))) in plan.items.iter_mut().zip(origins).enumerate() {
            item.package = format!("p{number}:amd64").parse().expect("id");
            let (origin, source) = ((*origin).to_owned(), *source);
            item.archive = Some(Archive { source, origin, file_name: String::new(), size: 1, sha256: Digest([0; 32]), trusted: true });
        }
        plan
    }

    fn sources(known: &[&str], others: OtherSources) -> Sources {
        Sources { known: Some(known.iter().map(|text| text.parse().expect("pattern")).collect()), others }
    }

    #[test]
    fn what_comes_from_elsewhere_is_said_or_refused() {
        use ArchiveSource::{Kept, Local, Rebuilt, Repository};
        let here = from(&[("Debian/stable", Repository), ("", Local), ("Elsewhere/x", Kept), ("rebuilt", Rebuilt)]);
        let there = from(&[("Debian/stable", Repository), ("Mine/prod", Repository), ("", Repository), ("Mine/prod", Repository)]);
        let known = sources(&["Debian/*"], OtherSources::Warn);
        assert_eq!((known.check(&here), Sources::default().check(&there)), (Ok(None), Ok(None)));
        let text = "no source of this machine: p1, p3 from Mine/prod; p2 from a source without a name";
        assert_eq!(known.check(&there), Ok(Some(text.to_owned())));
        let refused = sources(&["Debian/*", "Mine/test"], OtherSources::Refuse).check(&there).expect_err("refused");
        assert_eq!((refused.code, refused.text.as_str()), (ErrorCode::TrustSource, text));
        assert_eq!(sources(&["Debian/*"], OtherSources::Refuse).check(&here), Ok(None));
    }

    #[test]
    fn a_pattern_is_a_name_or_the_beginning_of_one() {
        let is = |pattern: &str, origin| pattern.parse::<SourcePattern>().expect("pattern").is(origin);
        assert!(is("Debian/stable", "Debian/stable") && is("Debian/*", "Debian/stable") && is("*", ""));
        assert!(!is("Debian/stable", "Debian/stable-security") && !is("Debian/*", "Debian-Security/stable") && !is("debian/*", "Debian/x"));
        for bad in ["", "*/stable", "De*an/*", "a\nb"] {
            assert!(bad.parse::<SourcePattern>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn many_packages_are_counted() {
        let text = sources(&[], OtherSources::Warn).check(&from(&[("X/y", ArchiveSource::Repository); 12])).expect("said").expect("others");
        assert!(text.ends_with("p9 and 2 more from X/y"), "{text}");
    }
}
