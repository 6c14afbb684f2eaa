//! The host's id: the machine id hashed for this program, as machine-id(5) asks, so that it can be shown.

/// 32 hexadecimal digits; empty on a machine without an id.
#[must_use]
pub fn host_id() -> String {
    let machine = std::fs::read_to_string("/etc/machine-id").unwrap_or_default();
    let machine = machine.trim();
    if machine.len() != 32 {
        return String::new();
    }
    let mut bytes = b"org.backstep1 host id\0".to_vec();
    bytes.extend_from_slice(machine.as_bytes());
    backstep_wire::digest(&bytes).to_string().chars().take(32).collect()
}
