//! Packages that a machine needs to come up far enough to undo a change by itself.
//!
//! Their files are never left to one barrier at the end: a power cut in between would leave a machine that cannot
//! start its recovery. The list is wide on purpose; being on it costs a little time and nothing else.

/// Whole names.
const NAMES: &[&str] = &[
    "apt",
    "backstep",
    "backstepd",
    "base-files",
    "base-passwd",
    "bash",
    "busybox",
    "coreutils",
    "dash",
    "diffutils",
    "dpkg",
    "e2fsprogs",
    "findutils",
    "grep",
    "gzip",
    "init",
    "kmod",
    "ld.so",
    "login",
    "mdadm",
    "mount",
    "sed",
    "shim",
    "sysvinit-core",
    "tar",
    "udev",
    "usrmerge",
    "util-linux",
    "xfsprogs",
    "zstd",
    "dbus",
    "dbus-broker",
];

/// Beginnings of names.
const BEGINNINGS: &[&str] = &[
    "btrfs",
    "console-setup",
    "cryptsetup",
    "dracut",
    "efibootmgr",
    "firmware-",
    "grub",
    "initramfs-tools",
    "libacl1",
    "libapparmor1",
    "libapt-pkg",
    "libattr1",
    "libaudit1",
    "libblkid1",
    "libbz2-",
    "libc-bin",
    "libc6",
    "libcap2",
    "libcrypt1",
    "libcryptsetup",
    "libdevmapper",
    "libgcc-s1",
    "libgcrypt",
    "libgpg-error",
    "libkmod",
    "liblz4-",
    "liblzma5",
    "libmd0",
    "libmount1",
    "libpam",
    "libpcre2-8",
    "libseccomp2",
    "libselinux1",
    "libsmartcols1",
    "libssl",
    "libstdc++6",
    "libsystemd",
    "libtinfo",
    "libudev1",
    "libuuid1",
    "libxxhash0",
    "libzstd1",
    "linux-image",
    "linux-modules",
    "lvm2",
    "perl-base",
    "shim-",
    "systemd",
    "sysvinit-utils",
    "thin-provisioning",
    "zlib1g",
];

/// Whether a package of this name is one of them.
#[must_use]
pub fn is_boot_critical(name: &str) -> bool {
    NAMES.contains(&name) || BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_boot_needs_is_on_the_list_and_a_program_is_not() {
        for name in ["libc6", "linux-image-6.1.0-18-amd64", "systemd-sysv", "dpkg", "libpam-runtime", "grub-efi-amd64", "libssl3"] {
            assert!(is_boot_critical(name), "{name}");
        }
        for name in ["jq", "nginx-light", "python3.11", "libonig5", "dashboard", "login-manager"] {
            assert!(!is_boot_critical(name), "{name}");
        }
    }
}
