use super::*;
use std::io::Read;

fn archives(dir: &Path, limit: u64) -> Archives {
    Archives::open(dir, limit).expect("open")
}

async fn take(archives: &Archives, file: File) -> Result<Taken, Failure> {
    archives.take_all(1000, 0, vec![file.into()]).await
}

async fn kept(archives: &Archives, file: File) -> LocalArchive {
    let taken = take(archives, file).await.expect("take");
    let archive = taken.archives().remove(0);
    taken.keep().expect("keep");
    archive
}

fn file(dir: &Path, name: &str, content: &str) -> File {
    fs::write(dir.join(name), content).expect("write");
    File::open(dir.join(name)).expect("open")
}

/// What lies in the folder of archives, but the folder of names.
fn found(dir: &Path) -> usize {
    fs::read_dir(dir.join("archives")).expect("folder").count() - 1
}

#[tokio::test]
async fn an_archive_is_named_by_its_content_and_copied_from_its_start() {
    let dir = tempfile::tempdir().expect("tempdir");
    let archives = archives(dir.path(), 1 << 20);
    let mut source = file(dir.path(), "x.deb", "content");
    source.read_exact(&mut [0; 3]).expect("read");
    let taken = kept(&archives, source).await;
    assert_eq!(taken.size, 7);
    assert_eq!(taken.sha256, backstep_wire::digest(b"content"));
    // What the caller does to its file afterwards changes nothing here.
    file(dir.path(), "x.deb", "changed");
    let opened = archives.open_local(&[taken]).expect("open").remove(0).3;
    assert_eq!(io::read_to_string(opened).expect("read"), "content");
}

#[tokio::test]
async fn what_is_no_regular_file_with_a_size_is_refused() {
    let dir = tempfile::tempdir().expect("tempdir");
    let archives = archives(dir.path(), 1 << 20);
    // Files of /proc show their reader's rights to whoever may open them.
    for path in ["/dev/zero", "/", "/proc/self/status", "/dev/null"] {
        let opened = File::open(path).expect("open");
        assert_eq!(take(&archives, opened).await.expect_err(path).code, ErrorCode::ArchiveInvalid, "{path}");
    }
    let path_only = File::options().read(true).custom_flags(nix::libc::O_PATH).open("/etc/passwd").expect("open");
    assert_eq!(take(&archives, path_only).await.expect_err("no rights").code, ErrorCode::ArchiveInvalid);
    let write_only = File::options().append(true).create(true).open(dir.path().join("w")).expect("open");
    fs::write(dir.path().join("w"), "content").expect("write");
    assert_eq!(take(&archives, write_only).await.expect_err("no rights").code, ErrorCode::ArchiveInvalid);
    assert_eq!(found(dir.path()), 0);
}

#[tokio::test]
async fn a_file_that_becomes_shorter_or_longer_is_refused() {
    let dir = tempfile::tempdir().expect("tempdir");
    let archives = archives(dir.path(), 1 << 20);
    for announced in [6, 8] {
        let source = file(dir.path(), "x.deb", "content");
        let error = archives.copy(source.into(), announced).expect_err("refused");
        assert!(error.code == ErrorCode::ArchiveInvalid && error.text.contains("changed"), "{error}");
    }
    assert_eq!(found(dir.path()), 0);
}

#[tokio::test]
async fn a_copy_without_a_request_is_gone() {
    let dir = tempfile::tempdir().expect("tempdir");
    let archives = archives(dir.path(), 1 << 20);
    let taken = take(&archives, file(dir.path(), "x.deb", "content")).await.expect("take");
    assert_eq!(found(dir.path()), 1);
    drop(taken);
    assert_eq!(found(dir.path()), 0);
    // The second of them is refused, and the first goes too.
    let fds = vec![file(dir.path(), "x.deb", "content").into(), File::open("/dev/null").expect("open").into()];
    assert!(archives.take_all(1000, 0, fds).await.is_err());
    assert_eq!(found(dir.path()), 0);
    // What a crash left goes at the next start.
    fs::write(dir.path().join("archives/.x.tmp"), "left").expect("write");
    kept(&archives, file(dir.path(), "x.deb", "content")).await;
    Archives::open(dir.path(), 1).expect("open");
    assert_eq!(found(dir.path()), 1);
}

#[tokio::test]
async fn one_user_s_archives_are_bounded_before_anything_is_copied() {
    let dir = tempfile::tempdir().expect("tempdir");
    let archives = archives(dir.path(), 1 << 20);
    let sparse = file(dir.path(), "x.deb", "");
    File::options().write(true).open(dir.path().join("x.deb")).expect("open").set_len(1 << 40).expect("a hole");
    assert_eq!(take(&archives, sparse).await.expect_err("refused").code, ErrorCode::RequestTooLarge);
    let of = |waiting| archives.take_all(1000, waiting, vec![file(dir.path(), "y.deb", "content").into()]);
    assert!(of((1 << 20) - 7).await.is_ok());
    assert_eq!(of((1 << 20) - 6).await.expect_err("refused").code, ErrorCode::RequestTooLarge);
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(of(0).await.expect("taken"));
    }
    assert_eq!(of(0).await.expect_err("refused").code, ErrorCode::RequestThrottled);
    assert!(archives.take_all(1001, 0, vec![file(dir.path(), "y.deb", "content").into()]).await.is_ok());
    drop(held.pop());
    assert!(of(0).await.is_ok());
    let huge = Archives::open(dir.path(), u64::MAX).expect("open");
    assert_eq!(huge.check_space(1 << 60).expect_err("refused").code, ErrorCode::DiskFull);
}

#[tokio::test]
async fn copies_that_nobody_wants_go_and_used_ones_stay() {
    let dir = tempfile::tempdir().expect("tempdir");
    let archives = archives(dir.path(), 1 << 20);
    let mut all = Vec::new();
    for text in ["a", "b", "c"] {
        all.push(kept(&archives, file(dir.path(), "x.deb", text)).await);
    }
    let [unwanted, wanted, used] = all.try_into().expect("three");
    let link = dir.path().join("archives/by-name/x_1_all.deb");
    std::os::unix::fs::symlink(format!("../{}.deb", used.sha256), link).expect("link");
    archives.forget(&[unwanted.clone(), wanted.clone(), used.clone()], std::slice::from_ref(&wanted)).expect("forget");
    let left = |archive: &LocalArchive| archives.path(&archive.sha256).exists();
    assert_eq!((left(&unwanted), left(&wanted), left(&used)), (false, true, true));
}
