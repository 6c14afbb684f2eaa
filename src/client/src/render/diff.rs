//! The difference between two texts, line by line, as `diff -u` shows it, and what to say of files that hold no text.
//!
//! What files held is whoever's wrote them: all is escaped.

use backstep_bus::ContentsRow;

use crate::render::escape::escaped;
use crate::ui::{Ink, Ui};

/// Lines shown before and after a change.
const CONTEXT: usize = 3;
/// Cells of the table that finds common lines, at most: beyond it everything is told as replaced.
const MAX_CELLS: usize = 4 << 20;

/// What a transaction, named by `id`, did to one configuration file.
pub(crate) fn file(ui: &Ui, id: &str, row: &ContentsRow) -> String {
    if row.withheld == Some(true) {
        return format!("{}: changed; only root is shown what it held\n", escaped(&row.path));
    }
    let Some((old, new)) = texts(row) else { return format!("{}: {} → {}\n", escaped(&row.path), before(row), after(row)) };
    let name = |side: &str, mark: &str| {
        let path = if side == "absent" { "/dev/null".to_owned() } else { escaped(&row.path) };
        ui.paint(Ink::Strong, &format!("{mark} {path}"))
    };
    format!("{} before {id}\n{} after {id}\n{}", name(&row.before, "---"), name(&row.after, "+++"), hunks(ui, old, new))
}

/// The same without names and colours, for programs; absent when there are no two texts.
pub(crate) fn plain(ui: &Ui, row: &ContentsRow) -> Option<String> {
    texts(row).map(|(old, new)| hunks(ui, old, new))
}

/// Both texts; what is not there counts as an empty one.
fn texts(row: &ContentsRow) -> Option<(&str, &str)> {
    let has_text = row.before == "text" || row.after == "text";
    let old = text(&row.before, row.before_text.as_deref())?;
    Some((old, text(&row.after, row.after_text.as_deref())?)).filter(|_| has_text)
}

fn text<'r>(sort: &str, text: Option<&'r str>) -> Option<&'r str> {
    match sort {
        "absent" => Some(""),
        "text" => text,
        _ => None,
    }
}

fn before(row: &ContentsRow) -> String {
    held(&row.before, row.before_text.as_deref())
}

fn after(row: &ContentsRow) -> String {
    held(&row.after, row.after_text.as_deref())
}

fn held(sort: &str, text: Option<&str>) -> String {
    match (sort, text) {
        ("absent", _) => "not there".to_owned(),
        ("text", _) => "a text".to_owned(),
        ("binary", _) => "a binary file".to_owned(),
        ("large", _) => "a file too large to be shown".to_owned(),
        ("link", Some(target)) => format!("a link to {}", escaped(target)),
        ("unknown", _) => "a file whose content is not known any more".to_owned(),
        ("other", _) => "no file".to_owned(),
        (other, _) => escaped(other),
    }
}

/// What happens to a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Stays,
    Goes,
    Comes,
}

/// Both texts' lines in one order, each with its fate.
fn lines<'t>(old: &'t str, new: &'t str) -> Vec<(Fate, &'t str)> {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.split_inclusive('\n').collect(), new.split_inclusive('\n').collect());
    let head = old.iter().zip(&new).take_while(|(one, other)| one == other).count();
    let (rest_old, rest_new) = (&old[head..], &new[head..]);
    let tail = rest_old.iter().rev().zip(rest_new.iter().rev()).take_while(|(one, other)| one == other).count();
    let (middle_old, middle_new) = (&rest_old[..rest_old.len() - tail], &rest_new[..rest_new.len() - tail]);
    let stay = |lines: &[&'t str]| lines.iter().map(|line| (Fate::Stays, *line)).collect::<Vec<_>>();
    [stay(&old[..head]), changed(middle_old, middle_new), stay(&rest_old[rest_old.len() - tail..])].concat()
}

fn changed<'t>(old: &[&'t str], new: &[&'t str]) -> Vec<(Fate, &'t str)> {
    let width = new.len() + 1;
    if width.saturating_mul(old.len() + 1) > MAX_CELLS {
        return old.iter().map(|line| (Fate::Goes, *line)).chain(new.iter().map(|line| (Fate::Comes, *line))).collect();
    }
    // How many lines are common from here to the ends.
    let mut common = vec![0_u32; width * (old.len() + 1)];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            let (down, right) = (common[(i + 1) * width + j], common[i * width + j + 1]);
            common[i * width + j] = if old[i] == new[j] { common[(i + 1) * width + j + 1] + 1 } else { down.max(right) };
        }
    }
    let (mut i, mut j, mut out) = (0, 0, Vec::new());
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            out.push((Fate::Stays, old[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == new.len() || (i < old.len() && common[(i + 1) * width + j] >= common[i * width + j + 1]) {
            out.push((Fate::Goes, old[i]));
            i += 1;
        } else {
            out.push((Fate::Comes, new[j]));
            j += 1;
        }
    }
    out
}

fn hunks(ui: &Ui, old: &str, new: &str) -> String {
    let lines = lines(old, new);
    let is_near =
        |at: usize| lines[at.saturating_sub(CONTEXT)..(at + CONTEXT + 1).min(lines.len())].iter().any(|(fate, _)| *fate != Fate::Stays);
    let (mut text, mut at, mut numbers) = (String::new(), 0, (1, 1));
    while at < lines.len() {
        if !is_near(at) {
            numbers = (numbers.0 + 1, numbers.1 + 1);
            at += 1;
            continue;
        }
        let end = (at..lines.len()).find(|at| !is_near(*at)).unwrap_or(lines.len());
        text.push_str(&hunk(ui, &lines[at..end], &mut numbers));
        at = end;
    }
    text
}

/// Lines that belong together, under their numbers; these go on behind them.
fn hunk(ui: &Ui, lines: &[(Fate, &str)], (old, new): &mut (usize, usize)) -> String {
    let count = |without: Fate| lines.iter().filter(|(fate, _)| *fate != without).count();
    let (olds, news) = (count(Fate::Comes), count(Fate::Goes));
    // As diff does: of no line the number is the one before.
    let span = |at: usize, count: usize| format!("{},{count}", if count == 0 { at - 1 } else { at });
    let mut text = format!("@@ -{} +{} @@\n", span(*old, olds), span(*new, news));
    text.extend(lines.iter().map(|(fate, line)| shown(ui, *fate, line)));
    (*old, *new) = (*old + olds, *new + news);
    text
}

fn shown(ui: &Ui, fate: Fate, line: &str) -> String {
    let whole = line.strip_suffix('\n');
    let content = whole.unwrap_or(line).split('\t').map(escaped).collect::<Vec<_>>().join("\t");
    let line_end = if whole.is_some() { "\n" } else { "\n\\ No newline at end of file\n" };
    match fate {
        Fate::Stays => format!(" {content}{line_end}"),
        Fate::Goes => format!("{}{line_end}", ui.paint(Ink::Bad, &format!("-{content}"))),
        Fate::Comes => format!("{}{line_end}", ui.paint(Ink::Good, &format!("+{content}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(before: Option<&str>, after: Option<&str>) -> ContentsRow {
        let sort = |text: Option<&str>| if text.is_some() { "text" } else { "absent" }.to_owned();
        let own = |text: Option<&str>| text.map(str::to_owned);
        let (before_text, after_text) = (own(before), own(after));
        ContentsRow { path: "/etc/x".into(), before: sort(before), after: sort(after), before_text, after_text, withheld: None }
    }

    fn diff(before: &str, after: &str) -> String {
        hunks(&Ui::plain(), before, after)
    }

    #[test]
    fn it_is_what_diff_shows() {
        let old = "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\nk\nl\n";
        let new = "a\nB\nc\nd\ne\nf\ng\nh\ni\nj\nl\nm";
        let expected = "@@ -1,5 +1,5 @@\n a\n-b\n+B\n c\n d\n e\n@@ -8,5 +8,5 @@\n h\n i\n j\n-k\n l\n+m\n\\ No newline at end of file\n";
        assert_eq!(diff(old, new), expected);
        assert_eq!(diff("", "a\n"), "@@ -0,0 +1,1 @@\n+a\n");
        assert_eq!(diff("a\n", "a"), "@@ -1,1 +1,1 @@\n-a\n+a\n\\ No newline at end of file\n");
        assert_eq!(diff("a\n", "a\n"), "");
        assert_eq!(diff("x\ty\r\n", "\u{1b}[2J\n"), "@@ -1,1 +1,1 @@\n-x\ty\\x0d\n+\\x1b[2J\n");
    }

    #[test]
    fn every_change_makes_the_new_text_from_the_old_one() {
        let texts = ["", "a\n", "a\nb\n", "b\na\n", "a\na\nb\nc", "c\nb\na\n", "x\na\ny\nb\nz\n", "a\nb\nc\nd\n"];
        for (old, new) in texts.iter().flat_map(|old| texts.iter().map(move |new| (*old, *new))) {
            let lines = lines(old, new);
            let of = |without: Fate| lines.iter().filter(|(fate, _)| *fate != without).map(|(_, line)| *line).collect::<String>();
            assert_eq!((of(Fate::Comes).as_str(), of(Fate::Goes).as_str()), (old, new));
        }
        let many: String = (0..3000).map(|n| format!("{n}\n")).collect();
        let turned: String = (0..3000).rev().map(|n| format!("{n}\n")).collect();
        assert_eq!(diff(&many, &turned).lines().count(), 6001);
    }

    #[test]
    fn what_is_no_text_is_named() {
        let told = |row: &ContentsRow| file(&Ui::plain(), "cafe", row);
        assert_eq!(told(&row(None, Some("a\n"))), "--- /dev/null before cafe\n+++ /etc/x after cafe\n@@ -0,0 +1,1 @@\n+a\n");
        let binary = ContentsRow { before: "binary".into(), before_text: None, ..row(Some("a"), Some("b")) };
        assert_eq!(told(&binary), "/etc/x: a binary file → a text\n");
        let link = ContentsRow { before: "link".into(), after: "absent".into(), after_text: None, ..row(Some("a\u{1b}"), None) };
        assert_eq!(told(&link), "/etc/x: a link to a\\x1b → not there\n");
        let withheld = ContentsRow { withheld: Some(true), before_text: None, after_text: None, ..row(Some("a"), Some("b")) };
        assert_eq!((told(&withheld), plain(&Ui::plain(), &withheld)), ("/etc/x: changed; only root is shown what it held\n".into(), None));
    }
}
