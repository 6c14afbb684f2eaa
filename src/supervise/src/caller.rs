//! A process that waits for an answer: its memory and what `/proc` says of it. Root may read any.

use std::io::IoSliceMut;

use libseccomp::{ScmpArch, ScmpNotifReq};
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid;

use crate::resolve::Miss;

/// The kernel's `PATH_MAX`: a longer path is refused by the kernel too.
pub(crate) const PATH_MAX: usize = 4096;

/// Most paths are shorter, and memory is not read for nothing.
const USUAL: usize = 192;

/// The thread that made the call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller {
    pub tid: u32,
    args: [u64; 6],
}

impl Caller {
    pub(crate) fn of(request: &ScmpNotifReq) -> Self {
        let narrow = matches!(request.data.arch, ScmpArch::X86 | ScmpArch::Arm);
        let args = request.data.args.map(|arg| if narrow { arg & u64::from(u32::MAX) } else { arg });
        Self { tid: request.pid, args }
    }

    /// A pointer argument.
    pub(crate) fn pointer(&self, index: usize) -> usize {
        self.args[index] as usize
    }

    /// An argument that the kernel takes as 32 bits: descriptors and flags.
    pub(crate) fn int(&self, index: usize) -> i32 {
        self.args[index] as i32
    }

    /// The text at a pointer, without its NUL.
    ///
    /// # Errors
    /// [`Miss::Harmless`] if the kernel will fail to read it too, [`Miss::Unseen`] if only we may not.
    pub(crate) fn text(&self, address: usize) -> Result<Vec<u8>, Miss> {
        match self.text_up_to(address, USUAL) {
            Err(Miss::Harmless) => self.text_up_to(address, PATH_MAX),
            text => text,
        }
    }

    fn text_up_to(&self, address: usize, longest: usize) -> Result<Vec<u8>, Miss> {
        let mut text = vec![0; longest];
        let length = self.read(address, &mut text)?;
        let end = text[..length].iter().position(|byte| *byte == 0).ok_or(Miss::Harmless)?;
        text.truncate(end);
        Ok(text)
    }

    /// A number of the kernel's interface at a pointer.
    pub(crate) fn word(&self, address: usize) -> Result<u64, Miss> {
        let mut word = [0; 8];
        let length = self.read(address, &mut word)?;
        if length == word.len() { Ok(u64::from_ne_bytes(word)) } else { Err(Miss::Harmless) }
    }

    /// Reads up to the buffer's length; less if the memory ends before. In two parts, cut at a page: a part that is not
    /// wholly readable may be refused as a whole.
    fn read(&self, address: usize, buffer: &mut [u8]) -> Result<usize, Miss> {
        let first = (4096 - address % 4096).min(buffer.len());
        let parts =
            [RemoteIoVec { base: address, len: first }, RemoteIoVec { base: address.wrapping_add(first), len: buffer.len() - first }];
        let used = if buffer.len() > first { 2 } else { 1 };
        process_vm_readv(Pid::from_raw(self.tid.cast_signed()), &mut [IoSliceMut::new(buffer)], &parts[..used]).map_err(|errno| match errno
        {
            nix::errno::Errno::EFAULT | nix::errno::Errno::ESRCH => Miss::Harmless,
            _ => Miss::Unseen,
        })
    }
}
