//! A virtual machine: qemu without KVM, Debian's kernel, one disk, a console that is a file.
//!
//! Invariants: qemu is a child of this process and goes with the value; it has no network. Absent on purpose: commands from
//! outside: what the machine does is on its disk before it boots.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use backstep_tests::command;
use backstep_tests::wait::wait_until;

use crate::image::Kernel;

/// A machine's disk.
#[derive(Debug, Clone, Copy)]
pub enum Disk<'a> {
    /// A raw image.
    Plain(&'a Path),
    /// The same, and a file for what is written and flushed.
    Recorded(&'a Path, &'a Path),
}

/// What a machine is told to do when it is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duty {
    /// Change packages, as the scene has it.
    Record,
    /// Wait until Backstep rests, say how things are, power off.
    Settle,
}

impl Duty {
    const fn word(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Settle => "settle",
        }
    }
}

/// A running machine.
#[derive(Debug)]
pub struct Vm {
    child: Child,
    console: PathBuf,
}

impl Vm {
    /// Starts one; `console` is the file that gets what it prints.
    pub fn boot(kernel: &Kernel, disk: Disk<'_>, duty: Duty, console: &Path) -> Result<Self> {
        let words =
            "-machine pc -accel tcg -cpu max -m 768 -smp 1 -nodefaults -no-user-config -display none -no-reboot -device virtio-rng-pci";
        let mut qemu = command::host("qemu-system-x86_64", words.split(' '));
        qemu.arg("-serial").arg(format!("file:{}", console.display()));
        qemu.arg("-kernel").arg(&kernel.image).arg("-initrd").arg(&kernel.initrd);
        qemu.arg("-append")
            .arg(format!("root=/dev/vda ro console=ttyS0 panic=-1 quiet systemd.default_timeout_start_sec=900 powercut={}", duty.word()));
        for node in nodes(disk)? {
            qemu.arg("-blockdev").arg(node);
        }
        qemu.args(["-device", "virtio-blk-pci,drive=top,write-cache=on"]);
        let said = File::create(console.with_extension("qemu"))?;
        let child = qemu.stdout(said.try_clone()?).stderr(said).spawn().context("cannot start qemu-system-x86_64")?;
        Ok(Self { child, console: console.to_owned() })
    }

    /// What it has printed.
    #[must_use]
    pub fn said(&self) -> String {
        let read = |path: &Path| fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        read(&self.console) + &read(&self.console.with_extension("qemu"))
    }

    /// Waits until it has printed `words`; one that has ended meanwhile is an error.
    pub fn wait_for_words(&mut self, words: &str, limit: Duration) -> Result<()> {
        wait_until(&format!("the machine says {words}"), limit, || {
            let ended = self.child.try_wait()?;
            match (self.said().contains(words), ended) {
                (true, _) => Ok(Some(())),
                (false, None) => Ok(None),
                (false, Some(status)) => bail!("qemu ended: {status}"),
            }
        })
        .with_context(|| self.said())
    }

    /// Waits until it has powered off.
    pub fn wait(&mut self, limit: Duration) -> Result<()> {
        let ended: ExitStatus = wait_until("the machine is off", limit, || Ok(self.child.try_wait()?)).with_context(|| self.said())?;
        if ended.success() { Ok(()) } else { bail!("qemu: {ended}\n{}", self.said()) }
    }

    /// Stops it as its reset button does, after `delay`, unless it is off before; answers whether it was.
    pub fn reset_after(&mut self, delay: Duration) -> Result<bool> {
        let off = wait_until("the machine is off", delay, || Ok(self.child.try_wait()?)).is_ok();
        if !off {
            self.child.kill()?;
            self.child.wait()?;
        }
        Ok(!off)
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        // One that is off already is none.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// qemu's block nodes; the one that the machine sees is called `top`.
fn nodes(disk: Disk<'_>) -> Result<Vec<String>> {
    let file = |name: &str, path: &Path| {
        let path = path.to_str().context("the path of a disk is not UTF-8")?;
        Ok::<_, anyhow::Error>(format!("driver=file,node-name={name},filename={path}"))
    };
    let raw = |name: &str, of: &str| format!("driver=raw,node-name={name},file={of}");
    Ok(match disk {
        Disk::Plain(path) => vec![file("disk", path)?, raw("top", "disk")],
        Disk::Recorded(path, log) => {
            let top = "driver=blklogwrites,node-name=top,file=raw,log=record".to_owned();
            vec![file("disk", path)?, raw("raw", "disk"), file("written", log)?, raw("record", "written"), top]
        }
    })
}
