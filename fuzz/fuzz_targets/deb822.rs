//! Fuzzes the entry `deb822`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| backstep_parsers::entry("deb822")(bytes));
