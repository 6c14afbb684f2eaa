//! Fuzzes the entry `hook`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| backstep_parsers::entry("hook")(bytes));
