//! Fuzzes the entry `status_fd`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| backstep_parsers::entry("status_fd")(bytes));
