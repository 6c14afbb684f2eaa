//! The outer form of an archive: `ar` with three members. Three headers of 60 bytes do not need a library.

use std::io::{self, BufWriter, Seek, SeekFrom, Write};

const MAGIC: &[u8; 8] = b"!<arch>\n";
/// The place of a member's size in its header.
const SIZE: std::ops::Range<u64> = 48..58;

/// What an archive is written to.
pub trait Target: Write + Seek {}

impl<T: Write + Seek> Target for T {}

/// An archive that is being written.
pub(crate) struct Container<'o> {
    out: &'o mut dyn Target,
}

impl<'o> Container<'o> {
    /// Begins one.
    pub(crate) fn begin(out: &'o mut dyn Target) -> io::Result<Self> {
        out.write_all(MAGIC)?;
        let mut container = Self { out };
        container.member("debian-binary", |out| out.write_all(b"2.0\n"))?;
        Ok(container)
    }

    /// Adds a member; how long it is comes out while it is written.
    pub(crate) fn member<T, E: From<io::Error>>(&mut self, name: &str, write: impl FnOnce(&mut dyn Write) -> Result<T, E>) -> Result<T, E> {
        let at = self.out.stream_position()?;
        self.out.write_all(header(name).as_bytes())?;
        let begin = self.out.stream_position()?;
        let mut buffered = BufWriter::with_capacity(1 << 17, &mut *self.out);
        let answer = write(&mut buffered)?;
        buffered.flush()?;
        drop(buffered);
        self.end(at, begin)?;
        Ok(answer)
    }

    fn end(&mut self, at: u64, begin: u64) -> io::Result<()> {
        let end = self.out.stream_position()?;
        let size = format!("{:<10}", end - begin);
        if size.len() as u64 != SIZE.end - SIZE.start {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.out.seek(SeekFrom::Start(at + SIZE.start))?;
        self.out.write_all(size.as_bytes())?;
        self.out.seek(SeekFrom::Start(end))?;
        if (end - begin).is_multiple_of(2) { Ok(()) } else { self.out.write_all(b"\n") }
    }
}

fn header(name: &str) -> String {
    format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, "100644", 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_have_their_sizes_and_begin_at_even_places() {
        let mut out = io::Cursor::new(Vec::new());
        let mut container = Container::begin(&mut out).expect("begin");
        container.member("odd", |out| out.write_all(b"abc")).expect("odd");
        container.member("even", |out| out.write_all(b"abcd")).expect("even");
        let text = String::from_utf8(out.into_inner()).expect("text");
        let tail = |name: &str, size: usize| format!("{name:<16}0           0     0     100644  {size:<10}`\n");
        assert_eq!(text, format!("!<arch>\n{}2.0\n{}abc\n{}abcd", tail("debian-binary", 4), tail("odd", 3), tail("even", 4)));
    }
}
