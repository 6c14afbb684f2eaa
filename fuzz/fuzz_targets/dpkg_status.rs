//! Fuzzes the entry `dpkg_status`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| backstep_parsers::entry("dpkg_status")(bytes));
