//! How much undo material is kept, in words.

use backstep_bus::UndoMaterial;

use crate::render::show::facts;
use crate::render::{size, time};
use crate::ui::Ui;

/// Facts for `status`.
pub(crate) fn material(ui: &Ui, found: &UndoMaterial) -> String {
    let kept = format!("{} of {}{}", size::bytes(found.bytes), transactions(found.transactions), of(&limits(found)));
    let archives = format!("{} of {} archives", size::bytes(found.archive_bytes), found.archives);
    let limit = if found.limit_archive_bytes > 0 { format!("{} at most", size::bytes(found.limit_archive_bytes)) } else { String::new() };
    let pinned = format!("{} of {}, beside the limits", size::bytes(found.pinned_bytes), transactions(found.pinned));
    facts(
        ui,
        &[
            ("Kept", kept),
            ("Pinned", if found.pinned > 0 { pinned } else { String::new() }),
            ("Oldest", found.oldest.map(time::full).unwrap_or_default()),
            ("Archives", format!("{archives}{}", of(&limit))),
        ],
    )
}

fn transactions(count: u32) -> String {
    if count == 1 { "1 transaction".to_owned() } else { format!("{count} transactions") }
}

fn of(limits: &str) -> String {
    if limits.is_empty() { String::new() } else { format!(" ({limits})") }
}

/// A limit of 0 is none.
fn limits(found: &UndoMaterial) -> String {
    let UndoMaterial { limit_transactions, limit_days, limit_bytes, .. } = *found;
    let limits = [
        (limit_transactions > 0, transactions(limit_transactions)),
        (limit_days > 0, format!("{limit_days} days")),
        (limit_bytes > 0, size::bytes(limit_bytes)),
    ];
    let said: Vec<String> = limits.into_iter().filter_map(|(is, text)| is.then_some(text)).collect();
    if said.is_empty() { String::new() } else { format!("at most {}", said.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_said_beside_the_limits() {
        let found = UndoMaterial {
            transactions: 3,
            bytes: 2_000_000,
            archives: 4,
            archive_bytes: 5000,
            limit_transactions: 50,
            limit_days: 180,
            limit_bytes: 8 << 30,
            ..UndoMaterial::default()
        };
        let expected =
            "         Kept: 2.0 MB of 3 transactions (at most 50 transactions, 180 days, 8.6 GB)\n     Archives: 5.0 kB of 4 archives\n";
        assert_eq!(material(&Ui::plain(), &found), expected);
        let pinned = UndoMaterial { pinned: 1, pinned_bytes: 1000, transactions: 1, ..UndoMaterial::default() };
        assert!(material(&Ui::plain(), &pinned).contains("Pinned: 1.0 kB of 1 transaction, beside the limits\n"));
    }
}
