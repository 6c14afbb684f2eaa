//! Where a package comes from, in words.

use backstep_bus::record::OriginRow;

use crate::render::escape::escaped;
use crate::render::result::short;
use crate::render::show::facts;
use crate::render::time;
use crate::ui::{Ink, Ui};

/// Every architecture's story, the beginning first.
pub(crate) fn origins(ui: &Ui, rows: &[OriginRow]) -> String {
    let mut text = String::new();
    let mut arch = None;
    for row in rows {
        if arch != Some(row.arch.as_str()) {
            if arch.is_some() {
                text.push('\n');
            }
            text.push_str(&format!("{}\n", ui.paint(Ink::Strong, &heading(row))));
            arch = Some(row.arch.as_str());
        }
        text.push_str(&story(ui, row));
        text.extend(drift(rows, row).map(|line| format!("{line}\n")));
    }
    text
}

fn heading(row: &OriginRow) -> String {
    let version = row.installed.as_deref().map_or_else(|| "is not installed".to_owned(), escaped);
    format!("{}:{} {version}", escaped(&row.package), escaped(&row.arch))
}

fn story(ui: &Ui, row: &OriginRow) -> String {
    let title = match row.role.as_str() {
        "brought" => "Brought by",
        "changed" => "Changed by",
        "removed" => "Removed by",
        _ => return "No transaction is known that touched it: it was there before, or another program installed it.\n".to_owned(),
    };
    if row.hidden == Some(true) {
        return facts(ui, &[(title, "a transaction of another user".to_owned())]);
    }
    let id = row.transaction.as_deref().map(short).unwrap_or_default();
    let when = time::full(row.at.unwrap_or(0));
    facts(
        ui,
        &[
            (title, format!("{id}, {} of {when}", text(&row.kind))),
            ("Version", versions(row)),
            ("Because", because(row)),
            ("User", who(row)),
            ("Through", [text(&row.origin), text(&row.client)].join(" ")),
            ("Comment", text(&row.description)),
        ],
    )
}

fn versions(row: &OriginRow) -> String {
    match (&row.from, &row.to) {
        (Some(from), Some(to)) => format!("{} to {}", escaped(from), escaped(to)),
        (None, Some(version)) | (Some(version), None) => escaped(version),
        (None, None) => String::new(),
    }
}

fn because(row: &OriginRow) -> String {
    let requested: Vec<String> = row.requested.iter().flatten().map(|name| escaped(name)).collect();
    match row.reason.as_deref() {
        Some("requested") => "it was asked for".to_owned(),
        Some("dependency") if !requested.is_empty() => format!("it is a dependency; asked for was {}", requested.join(", ")),
        Some("dependency") => "it is a dependency of what was changed".to_owned(),
        Some("conflict") => "it stood in the way".to_owned(),
        Some("unused") => "nothing needed it any more".to_owned(),
        Some("upgrade") => "there was another version".to_owned(),
        Some("reverted") => "an earlier transaction was undone".to_owned(),
        Some(other) => escaped(other),
        None => String::new(),
    }
}

fn who(row: &OriginRow) -> String {
    let uid = row.uid.map(|uid| uid.to_string()).unwrap_or_default();
    row.user.as_deref().map_or(uid.clone(), |user| format!("{} (uid {uid})", escaped(user)))
}

/// Said once, after an architecture's last row, when dpkg has another version than the record.
fn drift(rows: &[OriginRow], row: &OriginRow) -> Option<&'static str> {
    let last = rows.iter().rev().find(|other| other.arch == row.arch);
    let known = row.role != "unrecorded" && row.hidden.is_none();
    (known && last == Some(row) && row.to != row.installed).then_some("Another program changed it since.")
}

fn text(value: &Option<String>) -> String {
    value.as_deref().map(escaped).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(role: &str, from: Option<&str>, to: Option<&str>) -> OriginRow {
        OriginRow {
            package: "lib".into(),
            arch: "amd64".into(),
            role: role.into(),
            installed: Some("2".into()),
            transaction: Some("01936b2e-7c1a-7d3e-9f10-0123456789ab".into()),
            kind: Some("install".into()),
            reason: Some("dependency".into()),
            from: from.map(str::to_owned),
            to: to.map(str::to_owned),
            requested: Some(vec!["jq".into()]),
            uid: Some(1000),
            user: Some("ana".into()),
            origin: Some("cli".into()),
            description: Some("try".into()),
            ..OriginRow::default()
        }
    }

    #[test]
    fn a_story_has_its_beginning_its_change_and_its_drift() {
        let hidden = OriginRow {
            hidden: Some(true),
            installed: None,
            package: "lib".into(),
            arch: "i386".into(),
            role: "brought".into(),
            ..Default::default()
        };
        let expected = "\
lib:amd64 2
   Brought by: 0123456789ab, install of
      Version: 1
      Because: it is a dependency; asked for was jq
         User: ana (uid 1000)
      Through: cli
      Comment: try
   Changed by: 0123456789ab, install of
      Version: 1 to 3
      Because: it is a dependency; asked for was jq
         User: ana (uid 1000)
      Through: cli
      Comment: try
Another program changed it since.

lib:i386 is not installed
   Brought by: a transaction of another user
";
        assert_eq!(origins(&Ui::plain(), &[row("brought", None, Some("1")), row("changed", Some("1"), Some("3")), hidden]), expected);
        let told = origins(&Ui::plain(), &[row("changed", Some("1"), Some("2"))]);
        assert!(!told.contains("Another program"), "{told}");
    }
}
