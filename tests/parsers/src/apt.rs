//! What apt, dpkg and archives say.

use backstep_apt::{container, extended_states, lists, pre_install_pkgs, status, status_fd as lines};
use backstep_core::Architecture;

use crate::text;

/// What apt and dpkg write to the status descriptor.
pub(crate) fn status_fd(bytes: &[u8]) {
    for line in text(bytes).lines() {
        drop(lines::apt_line(line));
        drop(lines::dpkg_line(line));
    }
}

/// dpkg's database, and its smaller files.
pub(crate) fn dpkg_status(bytes: &[u8]) {
    if let Ok(read) = status::Status::parse(bytes) {
        for (id, _) in read.iter() {
            assert_eq!(id.to_string().parse().as_ref(), Ok(id), "a name is in Debian's grammar");
        }
    }
    let text = text(bytes);
    drop((lists::file_list(text.as_bytes()), lists::conffiles(&text), lists::md5sums(&text), lists::diversions(&text)));
    drop((lists::stat_overrides(&text), lists::alternative(&text)));
}

/// apt's marks: paragraphs of fields.
pub(crate) fn deb822(bytes: &[u8]) {
    let native: Architecture = "amd64".parse().expect("an architecture");
    let read = extended_states::ExtendedStates::parse(&text(bytes), &native);
    let rendered = read.render();
    assert_eq!(extended_states::ExtendedStates::parse(&rendered, &native).render(), rendered, "what is written is read as it was");
}

/// The list of changes that apt gives its hooks.
pub(crate) fn hook(bytes: &[u8]) {
    let text = text(bytes);
    drop(pre_install_pkgs::setting(&text, "CommandLine::AsString"));
    if let Ok(items) = pre_install_pkgs::parse(&text) {
        for purge in [pre_install_pkgs::Purge::Yes, pre_install_pkgs::Purge::No] {
            drop(pre_install_pkgs::changes(&items, purge));
        }
    }
}

/// An archive's container, and its payload as `dpkg-deb` unpacks it.
pub(crate) fn payload(bytes: &[u8]) {
    let read = |at: u64, buffer: &mut [u8]| {
        let at = usize::try_from(at).map_err(drop)?;
        buffer.copy_from_slice(bytes.get(at..at + buffer.len()).ok_or(())?);
        Ok::<(), ()>(())
    };
    assert!(container::fault(bytes.len() as u64, read).is_ok(), "nothing is read beyond the end");
    if let Ok(paths) = backstep_worker::selection::payload::names(&mut &*bytes) {
        assert!(paths.iter().all(|path| path.is_absolute()), "a path of a payload begins at the root");
    }
}
