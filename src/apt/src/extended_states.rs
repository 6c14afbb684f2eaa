//! apt's marks: `/var/lib/apt/extended_states`.
//!
//! Invariant: stanzas and fields that are not ours keep their bytes and their order. apt files packages of
//! architecture `all` under the native architecture; so does this module, whatever the caller says.

use backstep_core::{Architecture, PackageId};

use crate::status::stanzas;

const AUTO: &str = "Auto-Installed";

/// The marks, with everything else the file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtendedStates {
    native: Architecture,
    stanzas: Vec<Vec<String>>,
}

impl ExtendedStates {
    /// Reads the file; an absent file is an empty text. Nothing in it can be wrong: unknown lines are kept.
    #[must_use]
    pub fn parse(text: &str, native: &Architecture) -> Self {
        // Not `lines`, which would take carriage returns away: a line that is nothing else would then end a stanza.
        let lines = |stanza: &str| stanza.split('\n').map(str::to_owned).collect();
        Self { native: native.clone(), stanzas: stanzas(text).map(lines).collect() }
    }

    /// The file's text. Every stanza ends with an empty line, as apt writes it.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        for stanza in &self.stanzas {
            for line in stanza {
                text.push_str(line);
                text.push('\n');
            }
            text.push('\n');
        }
        text
    }

    /// Whether a package is marked as automatically installed.
    #[must_use]
    pub fn is_auto(&self, package: &PackageId) -> bool {
        self.find(package).is_some_and(|at| value(&self.stanzas[at], AUTO) == Some("1"))
    }

    /// Marks a package as automatically or manually installed. Already so is fine. A stanza that would say
    /// nothing but "manual" is dropped, as apt does.
    pub fn set_auto(&mut self, package: &PackageId, auto: bool) {
        match (self.find(package), auto) {
            (Some(at), true) => set(&mut self.stanzas[at], AUTO, "1"),
            (Some(at), false) if self.stanzas[at].iter().all(|line| is_own_field(line)) => {
                self.stanzas.remove(at);
            }
            (Some(at), false) => set(&mut self.stanzas[at], AUTO, "0"),
            (None, true) => {
                let arch = self.filed_under(package);
                self.stanzas.push(vec![format!("Package: {}", package.name), format!("Architecture: {arch}"), format!("{AUTO}: 1")]);
            }
            (None, false) => {}
        }
    }

    fn filed_under<'a>(&'a self, package: &'a PackageId) -> &'a Architecture {
        if package.arch.as_str() == "all" { &self.native } else { &package.arch }
    }

    fn find(&self, package: &PackageId) -> Option<usize> {
        let arch = self.filed_under(package).as_str();
        self.stanzas.iter().position(|stanza| {
            // Files written before multi-arch carry no architecture: they mean the native one.
            value(stanza, "Package") == Some(package.name.as_str()) && value(stanza, "Architecture").unwrap_or(self.native.as_str()) == arch
        })
    }
}

fn value<'a>(stanza: &'a [String], field: &str) -> Option<&'a str> {
    stanza.iter().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).map(str::trim)
}

fn is_own_field(line: &str) -> bool {
    line.split_once(':').is_some_and(|(name, _)| ["Package", "Architecture", AUTO].contains(&name))
}

fn set(stanza: &mut Vec<String>, field: &str, value: &str) {
    let line = format!("{field}: {value}");
    match stanza.iter().position(|line| line.strip_prefix(field).is_some_and(|rest| rest.starts_with(':'))) {
        Some(at) => stanza[at] = line,
        None => stanza.push(line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str =
        "Package: liba\nArchitecture: amd64\nAuto-Installed: 1\n\nPackage: odd\nArchitecture: amd64\nInstall-Reason: tea\n\n";

    fn states(text: &str) -> ExtendedStates {
        ExtendedStates::parse(text, &"amd64".parse().expect("arch"))
    }

    fn id(text: &str) -> PackageId {
        text.parse().expect("id")
    }

    #[test]
    fn an_unchanged_file_keeps_its_bytes() {
        assert_eq!(states(SAMPLE).render(), SAMPLE);
        // Found by fuzzing.
        let returns = "Package: liba\r\nX: y\n\r\nAuto-Installed: 1\r\n\n";
        assert_eq!(states(returns).render(), returns);
        assert!(states(returns).is_auto(&id("liba:amd64")));
        assert_eq!(states("").render(), "");
    }

    #[test]
    fn marks_are_set_and_cleared_and_the_rest_stays() {
        let mut states = states(SAMPLE);
        states.set_auto(&id("odd:amd64"), true);
        states.set_auto(&id("doc:all"), true);
        states.set_auto(&id("liba:amd64"), false);
        states.set_auto(&id("never:amd64"), false);
        assert!(states.is_auto(&id("odd:amd64")) && states.is_auto(&id("doc:all")) && !states.is_auto(&id("liba:amd64")));
        assert_eq!(
            states.render(),
            "Package: odd\nArchitecture: amd64\nInstall-Reason: tea\nAuto-Installed: 1\n\nPackage: doc\nArchitecture: amd64\nAuto-Installed: 1\n\n"
        );
        states.set_auto(&id("odd:amd64"), false);
        assert!(states.render().contains("Install-Reason: tea\nAuto-Installed: 0"));
    }

    #[test]
    fn architectures_are_told_apart() {
        let mut states = states(SAMPLE);
        states.set_auto(&id("liba:i386"), true);
        states.set_auto(&id("liba:amd64"), false);
        assert!(states.is_auto(&id("liba:i386")) && !states.is_auto(&id("liba:amd64")));
    }
}
