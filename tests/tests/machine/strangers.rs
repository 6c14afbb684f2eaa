//! A service's own user, who may write its folder and a folder below /etc, gains nothing by an undo and stops no change.

use anyhow::{Result, ensure};
use backstep_tests::backstep::machine;
use backstep_tests::machine::Machine;
use backstep_tests::package::{Package, Script};
use backstep_tests::repository::{Repository, Transport};

use crate::clients::{Background, PATIENCE, backstep};
use backstep_tests::wait::wait_until;

const FOLDERS: &str = "id svc >/dev/null 2>&1 || useradd --system svc
mkdir -p -m 0700 /var/lib/bs-svc/secrets; echo topsecret >/var/lib/bs-svc/secrets/key
chown svc /var/lib/bs-svc; chown root:adm /var/lib/bs-svc/spool; chmod 2755 /var/lib/bs-svc/spool";

fn prepared() -> Result<Machine> {
    let machine = machine()?;
    let service = Package::new("bs-svc", "1").directory("/var/lib/bs-svc/spool", 0o755).script(Script::Postinst, FOLDERS);
    let packages = [service, Package::new("bs-one", "1").file("/usr/share/bs-one", "x")];
    machine.add_repository("local", &Repository::new(&packages)?, Transport::Copy)?;
    Ok(machine)
}

fn dress(machine: &Machine, path: &str) -> Result<String> {
    machine.check(["stat", "-c", "%F %U %G %a", path])
}

#[test]
fn what_a_service_puts_into_its_folder_gets_nothing_by_an_undo() -> Result<()> {
    let machine = prepared()?;
    backstep(&machine, &["install", "-y", "bs-svc"])?.success()?;
    let before = dress(&machine, "/var/lib/bs-svc/spool")?;
    assert_eq!(before, "directory root adm 2755\n");
    backstep(&machine, &["remove", "-y", "bs-svc"])?.success()?;
    ensure!(!machine.path("/var/lib/bs-svc/spool").exists(), "dpkg left it");
    let plant = "cd /var/lib/bs-svc; cp /usr/bin/id .backstep-tmp.directory; chmod 755 .backstep-tmp.directory";
    machine.check(["setpriv", "--reuid=svc", "--regid=svc", "--clear-groups", "sh", "-c", plant])?;
    backstep(&machine, &["rollback", "-y", "--last"])?.success()?;
    assert_eq!(dress(&machine, "/var/lib/bs-svc/spool")?, before);
    assert_eq!(dress(&machine, "/var/lib/bs-svc/.backstep-tmp.directory")?, "regular file svc svc 755\n");
    assert_eq!(dress(&machine, "/var/lib/bs-svc/secrets")?, "directory root root 700\n");
    Ok(())
}

/// A file that its owner keeps from being opened is kept by a link.
#[test]
fn a_lease_in_a_folder_below_etc_stops_no_change() -> Result<()> {
    let machine = prepared()?;
    machine.check(["useradd", "--system", "svc"])?;
    machine.check(["sh", "-c", "mkdir /etc/bs-svc; echo x >/etc/bs-svc/leased; chown -R svc /etc/bs-svc"])?;
    // 1024 is F_SETLEASE, 1 F_WRLCK; SIGIO would end it.
    let lease = "$SIG{IO} = 'IGNORE'; open(F, '+<', '/etc/bs-svc/leased') or die; fcntl(F, 1024, 1) or die $!;
                 open(G, '>', '/tmp/leased') or die; sleep 1 until -e '/tmp/over';";
    let holder = Background::start(&machine, &["setpriv", "--reuid=svc", "--regid=svc", "--clear-groups", "perl", "-e", lease])?;
    wait_until("the lease is held", PATIENCE, || Ok(machine.path("/tmp/leased").exists().then_some(())))?;
    let output = backstep(&machine, &["install", "-y", "bs-one"])?.success()?;
    assert!(output.stdout.contains("Done: 1 installed (bs-one)"), "{}", output.stdout);
    backstep(&machine, &["rollback", "-y", "--last"])?.success()?;
    assert_eq!(machine.package("bs-one")?, None);
    machine.write("/tmp/over", "", 0o644)?;
    holder.end()?.success()?;
    assert_eq!(machine.read("/etc/bs-svc/leased")?, "x\n");
    Ok(())
}
