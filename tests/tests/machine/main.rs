//! Tests in booted Debian machines; see [`backstep_tests::machine`]. They need root.
//!
//! Every module is one subject. A machine takes a few seconds, so a test may tell a longer story than a unit test.

mod harness;
mod packaging;
