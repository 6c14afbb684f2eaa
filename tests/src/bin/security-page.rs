//! Writes the generated half of docs/security.md.

// A page in the source tree: if this is interrupted, git has it.
#![allow(clippy::disallowed_methods)]

use backstep_tests::security;

fn main() -> anyhow::Result<()> {
    let text = std::fs::read_to_string(security::page())?;
    std::fs::write(security::page(), security::renewed(&text)?)?;
    Ok(())
}
