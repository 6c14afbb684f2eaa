//! Programs of another architecture, made of a few bytes.

#![allow(dead_code, reason = "no test file uses all")]

pub(crate) mod watch;

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

const BASE: u32 = 0x0804_8000;
const HEADERS: u32 = 84;

/// Writes a 32-bit x86 program that makes one system call and exits with its error number (0: success).
///
/// `text` is put behind the code; an argument of `None` is its address.
pub(crate) fn write_i386_program(path: &Path, call: u32, args: [Option<u32>; 4], text: &[u8]) {
    let body = call_and_exit(call, args.map(|arg| arg.unwrap_or(BASE + HEADERS + CODE)));
    assert_eq!(body.len() as u32, CODE);
    let mut file = std::fs::File::options().write(true).create_new(true).mode(0o755).open(path).unwrap();
    let size = HEADERS + CODE + text.len() as u32 + 1;
    for part in [&headers(size)[..], &body, text, &[0]] {
        file.write_all(part).unwrap();
    }
}

/// How long [`call_and_exit`] is.
const CODE: u32 = 5 * 5 + 2 + 4 + 5 + 2;

fn call_and_exit(call: u32, args: [u32; 4]) -> Vec<u8> {
    let mut code = Vec::new();
    for (mov, value) in [0xb8, 0xbb, 0xb9, 0xba, 0xbe].into_iter().zip([call, args[0], args[1], args[2], args[3]]) {
        code.push(mov);
        code.extend(value.to_le_bytes());
    }
    code.extend([0xcd, 0x80]); // int 0x80
    code.extend([0xf7, 0xd8, 0x89, 0xc3]); // neg eax; mov ebx, eax
    code.extend([0xb8, 1, 0, 0, 0, 0xcd, 0x80]); // exit
    code
}

/// The ELF header and one program header that maps the whole file.
fn headers(size: u32) -> Vec<u8> {
    let mut bytes = vec![0x7f, b'E', b'L', b'F', 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    bytes.extend([2u16, 3].iter().flat_map(|v| v.to_le_bytes()));
    bytes.extend([1, BASE + HEADERS, 52, 0, 0].iter().flat_map(|v: &u32| v.to_le_bytes()));
    bytes.extend([52u16, 32, 1, 0, 0, 0].iter().flat_map(|v| v.to_le_bytes()));
    bytes.extend([1, 0, BASE, BASE, size, size, 5, 0x1000].iter().flat_map(|v: &u32| v.to_le_bytes()));
    bytes
}
