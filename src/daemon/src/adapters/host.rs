//! The host's id: the machine id hashed for this program, as machine-id(5) asks, so that it can be shown.

/// 32 hexadecimal digits; empty on a machine without an id.
#[must_use]
pub fn host_id() -> String {
    hashed(&std::fs::read_to_string("/etc/machine-id").unwrap_or_default())
}

fn hashed(machine: &str) -> String {
    let machine = machine.trim();
    if machine.len() != 32 {
        return String::new();
    }
    let mut bytes = b"org.backstep1 host id\0".to_vec();
    bytes.extend_from_slice(machine.as_bytes());
    backstep_wire::digest(&bytes).to_string().chars().take(32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_one_id_that_does_not_tell_the_machine_s() {
        let (one, other) = ("0123456789abcdef0123456789abcdef\n", "0123456789abcdef0123456789abcdee\n");
        let id = hashed(one);
        assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        assert_eq!(id, hashed(one.trim()), "the same each time");
        assert!(id != hashed(other) && id != one.trim());
        // Before the first boot of an image, and while that is going on; see machine-id(5).
        assert_eq!([hashed(""), hashed("uninitialized\n")], ["", ""]);
    }
}
