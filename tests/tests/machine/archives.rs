//! Local archives that are not what they seem: refused, whatever the question said, with nothing changed.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use backstep_tests::command;

use crate::scene::{Scene, plain};

/// A container of these members.
fn container(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = b"!<arch>\n".to_vec();
    for (name, content) in members {
        bytes.extend(format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100_644, content.len()).into_bytes());
        bytes.extend_from_slice(content);
        if content.len() % 2 == 1 {
            bytes.push(b'\n');
        }
    }
    bytes
}

/// A tar of texts under these names, as they are spelled.
fn tar(folder: &Path, entries: &[(&str, &str)]) -> Result<Vec<u8>> {
    let archive = folder.join("made.tar");
    drop(fs::remove_file(&archive));
    for (name, text) in entries {
        let file = folder.join("entry");
        fs::write(&file, text)?;
        let rename = format!("--transform=s|.*|{name}|");
        let mut tar = command::host("tar", ["--append", "--absolute-names", "--owner=0", "--group=0", &rename, "--file"]);
        command::output(tar.arg(&archive).arg(&file))?.success()?;
    }
    Ok(fs::read(&archive)?)
}

fn facts(name: &str) -> String {
    format!("Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: Test <test@test.invalid>\nDescription: made for a test\n")
}

#[test]
fn archives_that_are_not_what_they_seem_are_refused() -> Result<()> {
    let scene = Scene::new(&[plain("bs-victim", "1")])?;
    let folder = tempfile::tempdir()?;
    let good = fs::read(plain("bs-mine", "1").build(folder.path())?)?;
    let (data, version) = (tar(folder.path(), &[("./usr/share/bs-mine", "x")])?, b"2.0\n");
    let [mine, other] = ["bs-mine", "bs-other"].map(facts);
    let control = tar(folder.path(), &[("./control", &mine)])?;
    let another = tar(folder.path(), &[("./control", &other)])?;
    // libapt takes the first name only; tar writes both to one file.
    let spelled = tar(folder.path(), &[("./control", &mine), (".//control", &other)])?;
    let bomb = plain("bs-bomb", "1").file("/usr/share/bs-bomb/zeros", vec![0; 1200 << 20]).build(folder.path())?;
    let odd = [
        ("cut off", good[..good.len() / 2].to_vec()),
        ("empty", Vec::new()),
        ("a script in front", [b"#!/bin/sh\n".as_slice(), &good].concat()),
        ("a zip behind", [good.as_slice(), b"PK\x05\x06"].concat()),
        (
            "two lists of facts",
            container(&[("debian-binary", version), ("control.tar", &control), ("data.tar", &data), ("control.tar.gz", &another)]),
        ),
        ("another order", container(&[("debian-binary", version), ("data.tar", &data), ("control.tar", &control)])),
        ("a name twice", container(&[("debian-binary", version), ("control.tar", &spelled), ("data.tar", &data)])),
        (
            "a name that climbs",
            container(&[
                ("debian-binary", version),
                ("control.tar", &tar(folder.path(), &[("./control", &facts("../../x"))])?),
                ("data.tar", &data),
            ]),
        ),
        ("a bomb", fs::read(bomb)?),
    ];
    let before = scene.state()?;
    for (what, bytes) in odd {
        scene.machine.write("/var/tmp/odd.deb", &bytes, 0o600)?;
        let ended = scene.backstep("install -y /var/tmp/odd.deb")?;
        let code = ended.json["error"]["code"].as_str().or_else(|| ended.json["error_code"].as_str()).unwrap_or_default().to_owned();
        // What is no name of a package is refused by the planner, which is the first to read it.
        let expected = if what == "a name that climbs" { "plan.failed" } else { "archive.invalid" };
        ensure!(ended.code != 0 && code == expected, "{what}: exit {} {code}\n{:#}\n{}", ended.code, ended.json, ended.stderr);
        before.expect_same(&scene.state()?, what)?;
    }
    // The file's own name means nothing.
    scene.machine.write("/var/tmp/sudo_9_all.deb", &good, 0o600)?;
    let ended = scene.change("install /var/tmp/sudo_9_all.deb")?;
    ensure!(ended.plan() == ["install bs-mine 1"], "{:?}", ended.plan());
    scene.machine.package("bs-mine")?.context("it is not there")?;
    Ok(())
}
