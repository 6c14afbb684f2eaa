//! A capture read as the file system that it was taken of.
#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods)]

mod common;

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use backstep_capture::{CaptureDir, Contents, FileKind, Late, Selection, secure};
use common::{Place, chmod, paths};

fn text(contents: &Contents, path: &str) -> Option<String> {
    contents.open_file(Path::new(path)).ok().map(|file| io::read_to_string(file).unwrap())
}

#[test]
fn what_was_there_is_read_as_it_was_by_every_path_that_led_to_it() {
    let place = Place::new();
    for path in ["usr/bin/tool", "usr/lib/a", "etc/conf", "opt/real/x"] {
        place.file(path, path);
    }
    fs::hard_link(place.at("usr/lib/a"), place.at("usr/lib/b")).unwrap();
    chmod(place.at("usr/bin/tool"), 0o4755);
    place.link("bin", "usr/bin");
    place.link("lib", "/usr/lib");
    place.link("usr/lib/l", "a");
    place.dir("srv");
    place.link("srv/away", "../opt/real");
    let dir = CaptureDir::create(&place.capture()).unwrap();
    // The link `lib` itself is captured, `bin` is not.
    let link = paths(&["/bin/tool", "/lib", "/lib/a", "/lib/b", "/lib/l", "/usr/lib", "/srv/away", "/srv/away/x", "/usr/gone"]);
    secure(&place.root(), &dir, &Selection { link, copy: paths(&["/etc"]), ..Selection::default() }, &mut |_, _| {}).unwrap();
    let mut late = Late::open(&place.root(), &dir).unwrap();
    chmod(place.at("usr/bin/tool"), 0o600);
    place.replace("usr/bin/tool", "new");
    late.before_write(Path::new("/usr/lib/a")).unwrap();
    File::create(place.at("usr/lib/a")).unwrap().write_all(b"written in place").unwrap();
    place.replace("etc/conf", "new");
    fs::remove_dir_all(place.at("opt")).unwrap();
    fs::write(place.at("usr/gone"), "came").unwrap();

    let contents = Contents::open(&dir).unwrap();
    for path in ["/bin/tool", "/usr/bin/tool"] {
        assert_eq!(text(&contents, path).as_deref(), Some("usr/bin/tool"), "{path}");
        assert_eq!(contents.look(Path::new(path)).unwrap().mode, 0o4755);
    }
    for path in ["/lib/a", "/usr/lib/a", "/lib/b", "/srv/../lib/a"] {
        assert_eq!(text(&contents, path).as_deref(), Some("usr/lib/a"), "{path}");
    }
    assert_eq!(text(&contents, "/etc/conf").as_deref(), Some("etc/conf"));
    assert_eq!(text(&contents, "/srv/away/x").as_deref(), Some("opt/real/x"));
    let look = |path: &str| contents.look(Path::new(path));
    assert_eq!(look("/lib/a").unwrap().family, look("/lib/b").unwrap().family);
    assert_ne!(look("/lib/a").unwrap().family, look("/bin/tool").unwrap().family);
    let lib = look("/lib").unwrap();
    assert_eq!((lib.kind, lib.target), (FileKind::Symlink, b"/usr/lib".to_vec()));
    assert_eq!((look("/usr/gone"), look("/nowhere"), text(&contents, "/usr/lib")), (None, None, None));
    assert_eq!(contents.names(Path::new("/lib")), ["a", "b", "l"]);
    assert_eq!((contents.names(Path::new("/etc")), contents.names(Path::new("/usr/gone"))), (vec!["conf".into()], vec![]));
}
