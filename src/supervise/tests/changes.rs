//! Every kind of change, made by real programs and calls under guard, is told with the exact path.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests set their scene with plain calls")]

mod common;

use backstep_supervise::Change;
use common::watch::{Place, is_in, perl};

#[test]
fn opening_for_writing_is_told_and_reading_is_not() {
    let place = Place::new();
    place.set("echo a >old; echo b >log");
    assert_eq!(place.watch("cat old; test -e new || true; ls -l"), []);
    assert_eq!(place.watch("echo x >old; echo x >>log; echo x >new"), [place.write("old"), place.write("log"), place.create("new")]);
}

#[test]
fn tools_of_maintainer_scripts_are_told() {
    let place = Place::new();
    place.set("echo a >old; echo b >other; mkdir full; echo >full/one");
    assert_eq!(place.watch("mkdir -p a/b/c"), [place.create("a"), place.create("a/b"), place.create("a/b/c")]);
    assert_eq!(place.watch("cp old copy"), [place.create("copy")]);
    assert_eq!(place.watch("cp old copy"), [place.write("copy")]);
    assert_eq!(place.watch("ln old hard"), [place.create("hard")]);
    assert_eq!(place.watch("ln -s nowhere soft"), [place.create("soft")]);
    assert_eq!(place.watch("mv copy moved"), [place.rename("copy", "moved")]);
    assert_eq!(place.watch("mv moved a/b"), [place.rename("moved", "a/b/moved")]);
    assert_eq!(place.watch("mv -f hard other"), [place.rename("hard", "other")]);
    assert_eq!(place.watch("rm soft"), [place.remove("soft")]);
    assert_eq!(place.watch("rm -r full"), [place.remove("full/one"), place.remove("full")]);
    assert_eq!(place.watch("mkfifo pipe; rmdir a/b/c"), [place.create("pipe"), place.remove("a/b/c")]);
    assert_eq!(place.watch("truncate -s 0 old"), [place.write("old")]);
    assert_eq!(place.watch("chmod 600 old; chown 1:1 other"), [place.meta("old"), place.meta("other")]);
    assert_eq!(place.watch("install -d -m 700 made")[0], place.create("made"));
}

#[test]
fn sed_in_place_and_install_replace_by_name() {
    let place = Place::new();
    place.set("echo a >old; echo b >dest");
    let sed = place.watch("sed -i s/a/b/ old");
    assert!(matches!(&sed[0], Change::Create(path) if is_in(path, &place.path(""))), "{sed:?}");
    assert!(matches!(sed.last(), Some(Change::Rename { to, .. }) if *to == place.path("old")), "{sed:?}");
    assert_eq!(place.watch("install -m 644 old dest")[..2], [place.remove("dest"), place.create("dest")]);
}

#[test]
fn becomes_guarded() {
    common::watch::become_guarded();
}

#[test]
fn links_are_followed_where_the_kernel_follows() {
    let place = Place::new();
    place.set("mkdir -p real/deep; ln -s real alias; echo a >real/file; ln -s file real/soft; ln -s real/new dangling");
    place.set(&format!(
        "ln -s {}/real/file absolute; ln -s alias/soft chain; ln -s loop2 loop1; ln -s loop1 loop2",
        place.path("").display()
    ));
    assert_eq!(place.watch("echo x >alias/new; echo x >alias/file"), [place.create("real/new"), place.write("real/file")]);
    assert_eq!(place.watch("echo x >real/soft; echo x >absolute; echo x >chain"), vec![place.write("real/file"); 3]);
    assert_eq!(place.watch("rm real/new; echo x >dangling"), [place.remove("real/new"), place.create("real/new")]);
    assert_eq!(
        place.watch("chmod 600 alias/soft; chown -h 1 alias/soft; chmod 700 alias/"),
        [place.meta("real/file"), place.meta("real/soft"), place.meta("real")]
    );
    assert_eq!(place.watch("echo x 2>/dev/null >loop1 || true"), []);
    assert_eq!(place.watch("mv alias/soft alias/deep/../moved"), [place.rename("real/soft", "real/moved")]);
    assert_eq!(place.watch("rm absolute alias"), [place.remove("absolute"), place.remove("alias")]);
}

#[test]
fn relative_paths_begin_where_the_process_or_its_descriptor_is() {
    let place = Place::new();
    place.set("mkdir -p a/b; ln -s a/b way; echo >a/file");
    assert_eq!(
        place.watch("cd way; echo x >../file; echo x >./new; cd -P ..; echo x >b/../made"),
        [place.write("a/file"), place.create("a/b/new"), place.create("a/made")]
    );
    let program = perl(
        r#"opendir(my $dir, "a") or die; my $fd = fileno($dir);
        try(NR{mkdirat}, $fd, "below", 0755); try(NR{mkdirat}, $fd, "b/../below/..//more", 0755); try(NR{unlinkat}, $fd, "file", 0); try(NR{unlinkat}, $fd, "below/", 0x200);"#,
    );
    assert_eq!(place.watch(&program), [place.create("a/below"), place.create("a/more"), place.remove("a/file"), place.remove("a/below")]);
    assert_eq!(
        place.watch("mkdir gone; cd gone; rmdir ../gone; (echo x >lost) 2>/dev/null || true; cd ..; chmod 755 . a/."),
        [place.create("gone"), place.remove("gone"), place.meta(""), place.meta("a")]
    );
}

#[test]
fn a_slash_at_the_end_asks_for_the_directory() {
    let place = Place::new();
    place.set("mkdir real; ln -s real alias");
    assert_eq!(
        place.watch("chown -h 1 alias; chown -h 1 alias/; rmdir alias/ 2>/dev/null || true"),
        [place.meta("alias"), place.meta("real")]
    );
    assert_eq!(place.watch("mkdir -p new/; rmdir new///; rmdir real/"), [place.create("new"), place.remove("new"), place.remove("real")]);
}

#[test]
fn open_flags_decide() {
    let place = Place::new();
    place.set("echo a >old; ln -s old soft; ln -s missing dangling; mkdir dir; mkfifo pipe");
    let tries = perl(
        r#"use Fcntl; my $h;
        sysopen($h, "old", O_RDONLY | O_TRUNC) or die; sysopen($h, "old", O_RDWR) or die; sysopen($h, "old", O_RDONLY | O_CREAT) or die;
        sysopen($h, "old", O_WRONLY | O_CREAT | O_EXCL) and die; sysopen($h, "soft", O_WRONLY | O_NOFOLLOW) and die;
        sysopen($h, "dangling", O_WRONLY | O_CREAT | O_EXCL) and die; sysopen($h, "new", O_RDWR | O_CREAT | O_EXCL) or die;
        sysopen($h, "dir", O_WRONLY) and die; sysopen($h, "pipe", O_RDWR) or die; sysopen($h, "absent", O_WRONLY) and die;
        sysopen($h, "", O_WRONLY | O_CREAT) and die; sysopen($h, "soft", O_WRONLY | 010000000) or die;
        sysopen($h, ".", O_RDWR | 020200000) or die;
        call(NR{creat}, "old", 0600) >= 0 or die; try(NR{truncate}, "soft", 3);
        call(NR{open}, 0, 2) == -1 or die; call(NR{open}, 1 << 46, 2) == -1 or die;"#,
    );
    assert_eq!(place.watch(&tries), [place.write("old"), place.write("old"), place.create("new"), place.write("old"), place.write("old")]);
}

#[test]
fn openat2_is_read_from_memory() {
    let place = Place::new();
    place.set("echo a >old; mkdir -p jail/etc; ln -s /etc jail/config");
    let tries = perl(
        r#"opendir(my $dir, "jail") or die; my $fd = fileno($dir);
        call(NR{openat2}, -100, "old", pack("QQQ", 2, 0, 0), 24) >= 0 or die; call(NR{openat2}, -100, "old", pack("QQQ", 0, 0, 0), 24) >= 0 or die;
        call(NR{openat2}, $fd, "/config/../config/new", pack("QQQ", 0101, 0600, 0x10), 24) >= 0 or die $!;"#,
    );
    assert_eq!(place.watch(&tries), [place.write("old"), place.create("jail/etc/new")]);
}

#[test]
fn rename_flags_decide() {
    let place = Place::new();
    place.set("echo a >one; echo b >two");
    let calls = perl(
        r#"try(NR{renameat2}, -100, "one", -100, "two", 2); call(NR{renameat2}, -100, "one", -100, "two", 1) == -1 or die;
        call(NR{rename}, "absent", "two") == -1 or die; try(NR{renameat2}, -100, "one", -100, "three", 1);"#,
    );
    let exchange = Change::Exchange { one: place.path("one"), other: place.path("two") };
    assert_eq!(place.watch(&calls), [exchange, place.rename("one", "three")]);
}

#[test]
fn attributes_are_told() {
    let place = Place::new();
    place.set("echo a >old; ln -s old soft; mkdir dir");
    let calls = perl(
        r#"my $v = "x"; my $n = "user.note"; my $s = "trusted.note"; opendir(my $dir, "dir") or die; my $fd = fileno($dir);
        try(NR{setxattr}, "soft", $n, $v, 1, 0); try(NR{removexattr}, "old", $n); try(NR{lsetxattr}, "soft", $s, $v, 1, 0); try(NR{lremovexattr}, "soft", $s);
        try(NR{fchownat}, -100, "soft", 1, 1, 0x100); try(NR{fchownat}, $fd, "", 1, 1, 0x1000); try(NR{lchown}, "soft", 0, 0);"#,
    );
    let (old, soft) = (place.meta("old"), place.meta("soft"));
    assert_eq!(place.watch(&calls), [old.clone(), old, soft.clone(), soft.clone(), soft.clone(), place.meta("dir"), soft]);
}

#[test]
fn any_bytes_are_names() {
    let place = Place::new();
    let long = "n".repeat(255);
    assert_eq!(
        place.watch(&format!("echo x >{long}; mv {long} -- -odd; echo x >{long}y 2>/dev/null || true"))[..2],
        [place.create(&long), place.rename(&long, "-odd")]
    );
    use std::os::unix::ffi::OsStrExt as _;
    let name = std::ffi::OsStr::from_bytes(b"\xff\xfe \n\"");
    assert_eq!(place.watch(&perl(r#"open(my $h, ">", "\xff\xfe \n\"") or die;"#)), [Change::Create(place.path("").join(name))]);
    assert_eq!(
        place.watch(&perl(r#"open(my $h, ">", "./" x 2040 . "deep") or die $!; open($h, ">", "./" x 2100 . "deep") and die;"#)),
        [place.create("deep")]
    );
}

#[test]
fn descriptors_are_names_too() {
    let place = Place::new();
    place.set("echo a >log; ln -s /dev/stdout shown; ln -s /proc/self/cwd here");
    assert_eq!(place.watch("exec 3<log; echo x >/proc/self/fd/3; echo x >/dev/fd/3"), vec![place.write("log"); 2]);
    assert_eq!(place.watch("exec >>log; echo x >/dev/stdout; echo x >shown"), vec![place.write("log"); 3]);
    assert_eq!(place.watch("echo x >/dev/stdout; echo x >shown; echo x >/dev/null"), []);
    assert_eq!(place.watch("echo x >/proc/self/cwd/new; echo x >/proc/thread-self/cwd/log"), [place.create("new"), place.write("log")]);
    assert_eq!(
        place.watch("exec 3<>temp; rm temp; echo x >/proc/self/fd/3; echo x >/proc/self/oom_score_adj || true"),
        [place.create("temp"), place.remove("temp")]
    );
}

#[test]
fn a_changed_root_is_where_paths_begin() {
    let place = Place::new();
    place.set("mkdir -p jail/etc jail/real jail/proc; echo a >jail/etc/conf; ln -s /etc/conf jail/soft; ln -s /real jail/way; ln -s ../../../../etc jail/real/up");
    let inside = perl(
        r#"chroot("jail") or die; open(my $h, ">", "/soft") or die; open($h, ">", "/way/new") or die; open($h, ">", "/real/up/other") or die;
        open($h, ">", "outside") or die; chdir("/real") or die; rename("../etc/conf", "../../conf") or die; mkdir("/way/up/dir") or die; chmod(0700, "/") or die;"#,
    );
    let expected = [
        place.write("jail/etc/conf"),
        place.create("jail/real/new"),
        place.create("jail/etc/other"),
        place.create("outside"),
        place.rename("jail/etc/conf", "jail/conf"),
        place.create("jail/etc/dir"),
        place.meta("jail"),
    ];
    assert_eq!(place.watch(&inside), expected);
}

/// Proc in a jail, for as long as this lives.
struct Proc(std::path::PathBuf);

impl Proc {
    fn mounted_at(place: &Place, name: &str) -> Self {
        place.set(&format!("mkdir -p {name}; mount -t proc proc {name}"));
        Self(place.path(name))
    }
}

impl Drop for Proc {
    fn drop(&mut self) {
        assert!(std::process::Command::new("umount").arg(&self.0).status().unwrap().success());
    }
}

#[test]
fn descriptors_are_names_in_a_changed_root_too() {
    let place = Place::new();
    let _proc = Proc::mounted_at(&place, "jail/proc");
    place.set("echo a >jail/log; ln -s /proc/self/fd jail/fd");
    let inside = perl(
        r#"use Fcntl; sysopen(my $log, "jail/log", O_RDONLY) or die; my $n = fileno($log); chroot("jail") or die;
        sysopen(my $h, "/proc/self/fd/$n", O_WRONLY) or die $!; sysopen($h, "/fd/$n", O_WRONLY) or die $!;"#,
    );
    assert_eq!(place.watch(&inside), vec![place.write("jail/log"); 2]);
}

#[test]
fn another_mount_namespace_is_seen_where_both_see_the_same_and_counted_where_not() {
    let place = Place::new();
    place.set("mkdir shared hidden; echo a >shared/old");
    let script = "unshare --mount --propagation private sh -ec 'echo x >shared/old; mount -t tmpfs none hidden; echo x >hidden/new; cd shared; echo x >new'";
    let (changes, seen) = place.watch_all(script);
    assert_eq!(changes, [place.write("shared/old"), place.create("shared/new")]);
    assert_eq!(seen.unseen, 1);
}

#[test]
fn programs_of_another_architecture_are_watched() {
    let place = Place::new();
    place.set("echo a >old");
    let program = place.path("unlink32");
    common::write_i386_program(&program, 10, [None, Some(0), Some(0), Some(0)], b"old");
    if let Err(none) =
        std::process::Command::new("/bin/true").status().and_then(|_| std::process::Command::new(&program).current_dir("/").status())
    {
        return println!("this kernel runs no 32-bit programs: {none}");
    }
    assert_eq!(place.watch("./unlink32"), [place.remove("old")]);
    common::write_i386_program(&place.path("open32"), 5, [None, Some(0o1101), Some(0o600), Some(0)], b"new");
    assert_eq!(place.watch("./open32 || true"), [place.create("new")]);
}

#[test]
fn jumps_through_proc_on_the_way_are_counted() {
    let place = Place::new();
    place.set("ln -s /proc/self/cwd here");
    let (changes, seen) = place.watch_all("echo x >here/new");
    assert_eq!((changes, seen.unseen), (vec![], 1));
}
