//! Damaged texts of apt and dpkg: every reader answers, none panics and none takes long.

use backstep_apt::{extended_states, lists, pre_install_pkgs, status, status_fd};
use backstep_core::hostile::{arguments, mutation};

const ROUNDS: u64 = 2_000;

const STATUS: &str = "Package: hello\nStatus: install ok installed\nPriority: optional\nArchitecture: amd64\nVersion: 2.10-3\n\
    Conffiles:\n /etc/hello 0123456789abcdef0123456789abcdef\nDescription: x\n y\n\nPackage: g++\nStatus: deinstall ok config-files\n\
    Architecture: amd64\nVersion: 4:12.2.0-3\n";
const EXTENDED: &str = "Package: hello\nArchitecture: amd64\nAuto-Installed: 1\n\nPackage: g++\nArchitecture: amd64\nAuto-Installed: 0\n";
const HOOK: &str = "VERSION 3\nAPT::Architecture=amd64\nDPkg::Pre-Install-Pkgs::=x\n\n\
    hello - - none < 2.10-3 amd64 none /var/cache/apt/archives/hello_2.10-3_amd64.deb\n\
    g++ 4:12.2.0-3 amd64 none > - - none **REMOVE**\nnano 7.2-1 amd64 none < 7.2-1+deb12u1 amd64 none **CONFIGURE**\n";
const STATUS_FD: &[&str] = &[
    "pmstatus:hello:25.0000:Unpacking hello (amd64)",
    "pmerror:hello:50.0:subprocess returned error exit status 1",
    "pmconffile:/etc/x:10.0:'/etc/x' '/etc/x.dpkg-new' 1 1",
    "dlstatus:1:10.5:Retrieving file 1 of 3",
    "status: hello:amd64: half-installed",
    "processing: upgrade: hello",
    "status: /etc/x : conffile-prompt : 'a' 'b' 1 1",
];

#[test]
fn damaged_texts_of_apt_and_dpkg_are_read_without_a_panic() {
    let native = "amd64".parse().expect("arch");
    for seed in 0..ROUNDS {
        let bytes = mutation(STATUS.as_bytes(), seed);
        if let Ok(read) = status::Status::parse(&bytes) {
            // What was read is data in Debian's grammar, whatever the file had.
            assert!(read.iter().all(|(id, _)| id.to_string().parse() == Ok(id.clone())), "seed {seed}");
        }
        let text = |valid: &str| String::from_utf8_lossy(&mutation(valid.as_bytes(), seed)).into_owned();
        let states = extended_states::ExtendedStates::parse(&text(EXTENDED), &native);
        let again = extended_states::ExtendedStates::parse(&states.render(), &native);
        assert_eq!(again.render(), states.render(), "seed {seed}");
        drop(pre_install_pkgs::parse(&text(HOOK)));
        for line in STATUS_FD {
            drop((status_fd::apt_line(&text(line)), status_fd::dpkg_line(&text(line))));
        }
        for valid in
            ["/.\n/usr\n/usr/bin/hello\n", "/etc/a\n/etc/b\nx\n", "auto\n/usr/bin/x\n\n/usr/bin/y\n50\n", "root root 4755 /bin/x\n"]
        {
            let text = text(valid);
            drop((lists::file_list(text.as_bytes()), lists::conffiles(&text), lists::md5sums(&text), lists::diversions(&text)));
            drop((lists::stat_overrides(&text), lists::alternative(&text)));
        }
    }
}

#[test]
fn hostile_words_on_the_status_descriptor_are_no_panic() {
    for text in arguments() {
        for line in [format!("pmstatus:{text}:5.0:x"), format!("pmstatus:x:{text}:y"), format!("status: {text}: installed"), text] {
            drop((status_fd::apt_line(&line), status_fd::dpkg_line(&line)));
        }
    }
}
