//! Archives made again, compared with what dpkg and the archives themselves say.

#![allow(clippy::disallowed_methods, reason = "tests set their scene with plain calls")]

mod as_shipped;
mod common;
mod this_machine;
mod tree;
