use super::*;
use crate::planted::PLANTED;

#[test]
fn fifty_kinds_of_secrets_are_taken_out() {
    assert!(PLANTED.len() >= 50);
    for planted in PLANTED {
        let clean = scrub(planted.text);
        assert!(planted.text.contains(planted.secret) && !clean.contains(planted.secret), "{}: {clean}", planted.kind);
        assert!(clean.contains(SECRET), "{}: {clean}", planted.kind);
        assert_eq!(scrub(&clean), clean, "{}: twice is once", planted.kind);
    }
    let all: String = PLANTED.iter().map(|planted| format!("{}\n", planted.text)).collect();
    let clean = scrub(&all);
    assert!(PLANTED.iter().all(|planted| !clean.contains(planted.secret)));
}

#[test]
fn what_is_no_secret_stays() {
    let texts = [
        "Setting up passwd (1:4.13+dfsg1-1+b1) ...",
        "Unpacking passwd:amd64 (1:4.13) over (1:4.12) ...",
        "apt-get install passwd=1:4.13+dfsg1-1 libpam-pwquality:amd64",
        "Get:1 http://deb.debian.org/debian bookworm/main amd64 hello amd64 2.10-3 [53.1 kB]",
        "clone ssh://git@example.org/x.git",
        "The following signatures couldn't be verified because the public key is not available: NO_PUBKEY 0E98404D386FA1D9",
        "dpkg: error processing package postgresql (--configure):",
        "password authentication failed for user bob",
        "Basic authentication is required",
        "update-alternatives: using /usr/bin/vim.basic to provide /usr/bin/vi (vi) in auto mode",
        "sha256 3f79bb7b435b05321651daefd374cdc681dc06faa65e374e38337b88ca046dea",
        "01936b2e-7c1a-7d3e-9f10-0123456789ab: the script ended with status 1",
        "Created symlink /etc/systemd/system/multi-user.target.wants/x.service \u{2192} /lib/systemd/system/x.service.",
        "W: https://deb.example.org/dists/stable/InRelease: The key(s) in the keyring are ignored",
        "mysql -uroot db",
        "cp -p a b",
        "author: bob; tokens left: 5",
        "",
    ];
    for text in texts {
        assert_eq!(scrub(text), text);
        assert!(matches!(scrub(text), Cow::Borrowed(_)));
    }
}

#[test]
fn a_key_has_an_end_and_characters_stay_whole() {
    let text = "before\n-----BEGIN EC PRIVATE KEY-----\nabc\n-----END EC PRIVATE KEY-----\nafter \u{e4} password=\u{e4}\u{fc}x y\n";
    assert_eq!(scrub(text), "before\n[secret]\n[secret]\n[secret]\nafter \u{e4} password=[secret] y\n");
}

proptest::proptest! {
    #[test]
    fn nothing_makes_it_fail_and_twice_is_once(text in "(\\PC|password|=|: |token|://|@|-----BEGIN | PRIVATE KEY|\\$6\\$|Bearer |\n){0,40}") {
        let once = scrub(&text).into_owned();
        let mut seeker = Seeker::default();
        for line in text.as_bytes().split_inclusive(|byte| *byte == b'\n') {
            let ranges = seeker.secrets(line);
            proptest::prop_assert!(ranges.windows(2).all(|pair| pair[0].end < pair[1].start));
            proptest::prop_assert!(ranges.iter().all(|range| range.end <= line.len()));
        }
        proptest::prop_assert!(scrub(&once).len() <= once.len() + 64);
    }
}
