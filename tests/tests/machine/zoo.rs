//! Packages whose scripts do what no capture can foresee. After an undo nothing of it is left: not a byte, a mode, an
//! owner, a link or a name, in the whole root.
//!
//! Every case is a package of its own with ground of its own (`$G`, files of a package installed before, and files of
//! nobody), so that many can be judged by one comparison: what differs names its case.

use anyhow::Result;
use backstep_tests::package::{Package, Script};

use crate::scene::Scene;

/// A name, and what the script does in its ground.
type Case = (&'static str, &'static str);

/// What scripts do to files that are there, and to names that are not.
const CASES: [Case; 46] = [
    ("append", "echo more >>$G/plain"),
    ("truncate", ": >$G/plain"),
    ("truncate-call", "truncate -s 3 $G/plain; truncate -s 1M $G/empty"),
    ("overwrite-a-part", "printf X | dd of=$G/plain bs=1 seek=2 conv=notrunc 2>/dev/null"),
    ("append-in-etc", "echo '# more' >>/etc/profile"),
    ("edit-in-place", "sed -i s/plain/other/ $G/plain"),
    ("remove", "rm $G/plain $G/link $G/fifo"),
    ("remove-a-tree", "rm -r $G/tree"),
    ("remove-and-make-anew", "rm $G/plain; echo new >$G/plain"),
    ("write-what-was-there", "cat $G/plain >$G/copy; cat $G/copy >$G/plain; rm $G/copy"),
    ("rename", "mv $G/plain $G/renamed"),
    ("rename-over", "mv $G/plain $G/empty"),
    ("rename-there-and-back", "mv $G/plain $G/away; echo x >>$G/away; mv $G/away $G/plain"),
    ("rename-a-directory", "mv $G/tree $G/moved; echo x >>$G/moved/deep/leaf; rm $G/moved/other; touch $G/moved/new"),
    ("rename-a-directory-twice", "mv $G/tree $G/one; mv $G/one $G/two; mkdir $G/tree; touch $G/tree/leaf"),
    ("rename-across", "mkdir $G/else; mv $G/tree/deep $G/else/deep; mv $G/tree $G/else/tree"),
    ("exchange", "perl -e 'syscall(316, -100, $ARGV[0], -100, $ARGV[1], 2) == 0 or die $!' $G/plain $G/tree"),
    ("mode", "chmod 4711 $G/plain; chmod 0700 $G/tree; chmod -R a-r $G/tree"),
    ("owner", "chown 12345:54321 $G/plain; chown -R nobody $G/tree; chown -h daemon $G/link"),
    ("set-id-is-disarmed", "chmod 0600 $G/setuid; rm $G/setuid"),
    ("set-id-is-lost", "chown daemon $G/setuid"),
    ("attribute", "setfattr -n user.mine -v changed $G/plain; setfattr -x user.old $G/plain; setfattr -n user.dir -v x $G/tree"),
    ("write-through-a-link", "echo more >>$G/link"),
    ("retarget-a-link", "ln -sfn /nowhere $G/link"),
    ("link-becomes-directory", "rm $G/link; mkdir $G/link; touch $G/link/in"),
    ("directory-becomes-link", "mv $G/tree $G/real; ln -s real $G/tree; echo x >>$G/tree/other"),
    ("file-becomes-directory", "rm $G/plain; mkdir -p $G/plain/deep; touch $G/plain/deep/x"),
    ("hard-link-is-made", "ln $G/plain $G/second; echo more >>$G/second"),
    ("hard-link-is-broken", "echo more >>$G/twin-a; rm $G/twin-b; echo other >$G/twin-b"),
    ("install-over", "printf new >$G/source; install -m 0755 $G/source $G/plain; cp $G/source $G/empty"),
    ("unpack-over", "tar -C $G/tree -cf - . | tar -C $G -xf -"),
    ("fifo-and-device", "mkfifo $G/pipe; mknod $G/null c 1 3; rm $G/fifo; touch $G/fifo"),
    ("sparse-and-large", "truncate -s 64M $G/sparse; dd if=/dev/zero of=$G/large bs=1M count=24 conv=notrunc 2>/dev/null"),
    ("odd-names", "touch \"$G/a b\" \"$G/$(printf 'new\\nline')\" \"$G/$(printf '\\377\\376')\" \"$G/-rf\" \"$G/..x\""),
    ("long-name", "touch $G/$(printf '%0255d' 0); rm $G/$(printf '%0254d' 0)"),
    ("deep-tree", "d=$G/tree; for n in $(seq 60); do d=$d/level-$n; done; mkdir -p $d; touch $d/leaf"),
    ("many-files", "for n in $(seq 400); do echo $n >$G/tree/$n; done"),
    ("outside-everything", "mkdir -p /opt/bs-zoo /usr/local/lib/bs-zoo; touch /opt/bs-zoo/x /usr/local/lib/bs-zoo/y /root/.bs-zoo"),
    ("relative-and-elsewhere", "cd $G/tree; echo x >../plain; cd deep; rm ../other; mkdir ./here"),
    ("in-a-chroot", "chroot / sh -c 'echo x >>\"$1\"/plain; rm \"$1\"/empty' sh $G"),
    ("in-a-mount-namespace", "unshare -m sh -c 'echo x >>\"$1\"/plain; touch \"$1\"/made' sh $G"),
    ("by-many-at-once", "for n in 1 2 3 4 5 6; do (for m in $(seq 40); do echo $n >>$G/plain; touch $G/$n-$m; done) & done; wait"),
    ("two-deep-in-children", "sh -c 'sh -c \"perl -e \\\"unlink qq($G/plain); rename qq($G/empty), qq($G/plain)\\\"\"'"),
    ("of-dpkg-itself", "echo >>/var/lib/dpkg/info/bs-ground.list; rm /var/lib/dpkg/info/bs-ground.md5sums"),
    ("divert", "dpkg-divert --quiet --local --rename --divert $G/diverted --add $G/plain; echo mine >$G/plain"),
    ("statoverride", "dpkg-statoverride --update --add daemon daemon 0751 $G/plain"),
];

/// What only some tests can do, because one machine can do it once.
const SYSTEM: [Case; 8] = [
    ("user", "useradd --system bs-zoo-user; usermod -c changed nobody; chown bs-zoo-user $G/plain"),
    ("group", "groupadd --system bs-zoo-group; gpasswd -a daemon bs-zoo-group >/dev/null"),
    ("alternative", "update-alternatives --install /usr/bin/bs-zoo-tool bs-zoo-tool /bin/true 10 --slave /usr/bin/bs-zoo-slave s /bin/ls"),
    ("linker", "echo $G/tree >/etc/ld.so.conf.d/bs-zoo.conf; ldconfig"),
    ("debconf", ". /usr/share/debconf/confmodule; db_x_loadtemplatefile $G/templates bs-zoo; db_set bs-zoo/answer yes; db_stop"),
    ("unit-by-hand", "printf '[Service]\\nExecStart=/bin/true\\n' >/etc/systemd/system/bs-zoo-hand.service; systemctl daemon-reload"),
    ("enable-by-hand", "ln -s /dev/null /etc/systemd/system/bs-zoo-masked.service; mkdir -p /etc/systemd/system/x.wants"),
    ("machine-id-like", "cat /etc/machine-id >$G/id; echo >>/etc/hosts; chmod 0600 /etc/hosts"),
];

fn ground(name: &str) -> String {
    format!("/usr/share/bs-ground/{name}")
}

fn body(case: &Case) -> String {
    format!("G={}\n{}", ground(case.0), case.1)
}

/// The package that owns the ground of all cases; what no package can hold is made by its script.
fn ground_package(cases: &[Case]) -> Package {
    let mut package = Package::new("bs-ground", "1");
    let mut script = "command -v setfattr >/dev/null\n".to_owned();
    for (name, _) in cases {
        let at = ground(name);
        package = package
            .file(&format!("{at}/plain"), "plain content\n")
            .file(&format!("{at}/empty"), "")
            .file(&format!("{at}/large"), vec![7; 1 << 20])
            .file(&format!("{at}/tree/deep/leaf"), "leaf\n")
            .file(&format!("{at}/tree/other"), "other\n")
            .file(&format!("{at}/templates"), "Template: bs-zoo/answer\nType: boolean\nDescription: x\n")
            .file_with_mode(&format!("{at}/setuid"), "#!/bin/sh\n", 0o4755)
            .symlink(&format!("{at}/link"), "plain");
        script.push_str(&format!(
            "mkfifo {at}/fifo; echo twin >{at}/twin-a; ln {at}/twin-a {at}/twin-b; touch {at}/$(printf '%0254d' 0)\n\
             setfattr -n user.old -v before {at}/plain\n"
        ));
    }
    package.script(Script::Postinst, &script).depends("attr")
}

fn name_of(case: &Case) -> String {
    format!("bs-zoo-{}", case.0)
}

fn zoo(cases: &[Case], script: Script, guard: &str) -> Vec<Package> {
    let of = |case: &Case| {
        let body = format!("case \"$1\" in {guard})\n{}\n;; esac", body(case));
        Package::new(&name_of(case), "1").file(&format!("/usr/share/{}/x", name_of(case)), "x").script(script, &body)
    };
    cases.iter().map(of).collect()
}

fn names(cases: &[Case]) -> String {
    cases.iter().map(|case| format!(" {}", name_of(case))).collect()
}

/// A package after all others, whose script fails.
fn last(cases: &[Case], script: Script, verbs: &[&str]) -> Package {
    let depends = cases.iter().map(name_of).collect::<Vec<_>>().join(", ");
    Package::new("bs-zzz-last", "1").depends(&depends).failing_script(script, verbs)
}

fn scene(cases: &[Case], packages: Vec<Package>) -> Result<Scene> {
    let scene = Scene::debian()?;
    scene.machine.check(["apt-get", "-y", "-qq", "install", "attr"])?;
    scene.publish(&packages)?;
    scene.publish(&[ground_package(cases)])?;
    scene.change("install bs-ground")?;
    Ok(scene)
}

/// While installing: in the middle of it something fails and everything is undone; then all succeeds and is rolled back.
fn while_installing(cases: &[Case], script: Script, guard: &str) -> Result<()> {
    let mut packages = zoo(cases, script, guard);
    packages.push(last(cases, Script::Postinst, &["configure"]));
    let scene = scene(cases, packages)?;
    let before = scene.state()?;
    scene.undone(&format!("install{} bs-zzz-last", names(cases)), 9, "script.failed")?;
    before.expect_same(&scene.state()?, "undo of the failed install")?;
    scene.there_and_back(&format!("install{}", names(cases)), |_| Ok(()))?;
    Ok(())
}

/// The same while removing.
fn while_removing(cases: &[Case], script: Script, guard: &str) -> Result<()> {
    let mut packages = zoo(cases, script, guard);
    packages.push(Package::new("bs-zzz-stays", "1").failing_script(Script::Prerm, &["remove"]));
    let scene = scene(cases, packages)?;
    scene.change(&format!("install{} bs-zzz-stays", names(cases)))?;
    let before = scene.state()?;
    scene.undone(&format!("remove{} bs-zzz-stays", names(cases)), 9, "script.failed")?;
    before.expect_same(&scene.state()?, "undo of the failed removal")?;
    scene.there_and_back(&format!("remove{}", names(cases)), |_| Ok(()))?;
    Ok(())
}

#[test]
fn whatever_a_postinst_does_to_files_comes_back() -> Result<()> {
    while_installing(&CASES, Script::Postinst, "configure")
}

#[test]
fn whatever_a_preinst_does_to_files_comes_back() -> Result<()> {
    while_installing(&CASES, Script::Preinst, "install")
}

#[test]
fn whatever_a_prerm_does_to_files_comes_back() -> Result<()> {
    while_removing(&CASES, Script::Prerm, "remove")
}

#[test]
fn whatever_a_postrm_does_to_files_comes_back() -> Result<()> {
    while_removing(&CASES, Script::Postrm, "remove")
}

#[test]
fn whatever_a_postinst_does_to_the_system_s_own_databases_comes_back() -> Result<()> {
    while_installing(&SYSTEM, Script::Postinst, "configure")
}
