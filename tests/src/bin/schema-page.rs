//! Writes docs/schema/record.md.

// A page in the source tree: if this is interrupted, git has it.
#![allow(clippy::disallowed_methods)]

fn main() -> anyhow::Result<()> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/schema/record.md");
    std::fs::write(path, backstep_store::schema_page()?)?;
    Ok(())
}
