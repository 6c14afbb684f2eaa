//! Fuzzes the entry `request`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| backstep_parsers::entry("request")(bytes));
