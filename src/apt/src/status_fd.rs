//! The progress that apt (`APT::Status-Fd`) and dpkg (`--status-fd`) report, line by line.
//!
//! Invariant: fields are parsed, words never: texts are localised and may hold colons. A line of no known form
//! is `None`; it is progress, not evidence, and the caller logs it and goes on.

/// A line of apt's status descriptor.
#[derive(Debug, Clone, PartialEq)]
pub enum AptLine {
    /// `dlstatus:`: downloads as a whole.
    Download {
        /// Number of the item, from 1.
        item: u64,
        /// 0 to 100.
        percent: f32,
        /// For people.
        text: String,
    },
    /// `pmstatus:`: a package reached its next state.
    Package {
        /// As apt names it, sometimes with an architecture; `dpkg-exec` when dpkg itself starts.
        package: String,
        /// 0 to 100, of dpkg's states.
        percent: f32,
        /// For people.
        text: String,
    },
    /// `pmerror:`: dpkg reported an error.
    Error {
        /// A package or the path of an archive.
        subject: String,
        /// 0 to 100.
        percent: f32,
        /// For people.
        text: String,
    },
    /// `pmconffile:`: dpkg asks about a configuration file.
    Conffile {
        /// Its path.
        path: String,
        /// 0 to 100.
        percent: f32,
        /// The rest: both names and whether each side edited it.
        text: String,
    },
    /// `media-change:`: another medium is needed; nobody is there to insert it.
    MediaChange(String),
}

/// A line of dpkg's status descriptor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DpkgLine {
    /// `processing:`: a stage begins.
    Processing {
        /// `install`, `upgrade`, `configure`, `trigproc`, `remove`, `purge` or `disappear`.
        stage: String,
        /// The package, sometimes with an architecture.
        package: String,
    },
    /// `status:`: the database names a new state.
    State {
        /// The package, sometimes with an architecture.
        package: String,
        /// dpkg's word for it.
        state: String,
    },
    /// `status:` with `error`.
    Error {
        /// A package or the path of an archive.
        subject: String,
        /// For people.
        text: String,
    },
    /// `status:` with `conffile-prompt`.
    Conffile {
        /// Its path.
        path: String,
        /// Both names and whether each side edited it.
        text: String,
    },
}

/// Reads one line of apt's.
#[must_use]
pub fn apt_line(line: &str) -> Option<AptLine> {
    let (kind, rest) = line.trim_end().split_once(':')?;
    if kind == "media-change" {
        return Some(AptLine::MediaChange(rest.trim().to_owned()));
    }
    let (subject, percent, text) = subject_percent_text(rest)?;
    let text = text.to_owned();
    match kind {
        "dlstatus" => Some(AptLine::Download { item: subject.parse().ok()?, percent, text }),
        "pmstatus" => Some(AptLine::Package { package: subject.to_owned(), percent, text }),
        "pmerror" => Some(AptLine::Error { subject: subject.to_owned(), percent, text }),
        "pmconffile" => Some(AptLine::Conffile { path: subject.to_owned(), percent, text }),
        _ => None,
    }
}

/// `subject:percent:text`, where subject (`libc6:i386`) and text may hold colons: the first field that is a
/// number after at least one other ends the subject.
fn subject_percent_text(rest: &str) -> Option<(&str, f32, &str)> {
    let mut from = rest.find(':')? + 1;
    loop {
        let length = rest[from..].find(':')?;
        if let Ok(percent) = rest[from..from + length].trim().parse::<f32>() {
            return Some((&rest[..from - 1], percent, rest[from + length + 1..].trim()));
        }
        from += length + 1;
    }
}

/// Reads one line of dpkg's.
#[must_use]
pub fn dpkg_line(line: &str) -> Option<DpkgLine> {
    let (kind, rest) = line.trim_end().split_once(": ")?;
    let owned = |text: &str| text.trim().to_owned();
    match kind {
        "processing" => {
            let (stage, package) = rest.split_once(": ")?;
            Some(DpkgLine::Processing { stage: owned(stage), package: owned(package) })
        }
        "status" => {
            if let Some((subject, text)) = rest.split_once(" : error : ") {
                return Some(DpkgLine::Error { subject: owned(subject), text: owned(text) });
            }
            if let Some((path, text)) = rest.split_once(" : conffile-prompt : ") {
                return Some(DpkgLine::Conffile { path: owned(path), text: owned(text) });
            }
            let (package, state) = rest.split_once(": ")?;
            Some(DpkgLine::State { package: owned(package), state: owned(state) })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_lines_of_apt() {
        let package = |package: &str, percent, text: &str| AptLine::Package { package: package.into(), percent, text: text.into() };
        assert_eq!(apt_line("pmstatus:dpkg-exec:0.0000:Running dpkg\n"), Some(package("dpkg-exec", 0.0, "Running dpkg")));
        assert_eq!(apt_line("pmstatus:hello:20.0000:Unpacking hello (amd64)"), Some(package("hello", 20.0, "Unpacking hello (amd64)")));
        assert_eq!(apt_line("pmstatus:libc6:i386:20:a: b"), Some(package("libc6:i386", 20.0, "a: b")));
        assert_eq!(
            apt_line("dlstatus:1:9.5:Retrieving file 1 of 2 (3s remaining)"),
            Some(AptLine::Download { item: 1, percent: 9.5, text: "Retrieving file 1 of 2 (3s remaining)".into() })
        );
        assert_eq!(
            apt_line("pmerror:/var/cache/apt/archives/x_1%3a2_all.deb:40:trying to overwrite '/a', which is also in package b"),
            Some(AptLine::Error {
                subject: "/var/cache/apt/archives/x_1%3a2_all.deb".into(),
                percent: 40.0,
                text: "trying to overwrite '/a', which is also in package b".into()
            })
        );
        assert!(matches!(apt_line("pmconffile:/etc/x:50:'/etc/x' '/etc/x.dpkg-new' 1 1"), Some(AptLine::Conffile { .. })));
        assert!(matches!(apt_line("media-change: disc 2:cdrom:please"), Some(AptLine::MediaChange(_))));
    }

    #[test]
    fn real_lines_of_dpkg() {
        assert_eq!(dpkg_line("processing: remove: hello"), Some(DpkgLine::Processing { stage: "remove".into(), package: "hello".into() }));
        assert_eq!(
            dpkg_line("status: libc6:amd64: half-configured"),
            Some(DpkgLine::State { package: "libc6:amd64".into(), state: "half-configured".into() })
        );
        assert_eq!(
            dpkg_line("status: bad : error : installed bad package post-installation script subprocess returned error exit status 1"),
            Some(DpkgLine::Error {
                subject: "bad".into(),
                text: "installed bad package post-installation script subprocess returned error exit status 1".into()
            })
        );
        assert!(matches!(dpkg_line("status: /etc/x : conffile-prompt : '/etc/x' '/etc/x.dpkg-new' 1 1"), Some(DpkgLine::Conffile { .. })));
    }

    #[test]
    fn other_lines_are_none() {
        for line in ["", "pmstatus", "pmstatus:a:b", "hello: 1: x", "dlstatus:x:y:z"] {
            assert_eq!(apt_line(line), None, "{line}");
            assert_eq!(dpkg_line(line), None, "{line}");
        }
    }
}
