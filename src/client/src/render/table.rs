//! Tables: aligned columns that fit the terminal.

use crate::ui::{Ink, Ui};

/// How a column behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Column {
    /// Left-aligned, keeps its width.
    Left(&'static str),
    /// Right-aligned, keeps its width.
    Right(&'static str),
    /// Left-aligned, gives way when the terminal is narrow.
    Flexible(&'static str),
    /// Left-aligned, for sentences, in the last place: on lines of its own below the row when the terminal is narrow.
    Sentence(&'static str),
}

impl Column {
    const fn title(self) -> &'static str {
        match self {
            Self::Left(title) | Self::Right(title) | Self::Flexible(title) | Self::Sentence(title) => title,
        }
    }
}

/// A cell: its text, and its colour when it has one. The text must be escaped.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    text: String,
    ink: Option<Ink>,
}

impl Cell {
    /// A cell in a colour.
    pub(crate) fn inked(text: impl Into<String>, ink: Ink) -> Self {
        Self { text: text.into(), ink: Some(ink) }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: text.into(), ink: None }
    }
}

const GAP: usize = 2;
/// What a flexible column keeps.
const LEAST: usize = 8;

/// Before a sentence below its row.
const INDENT: &str = "    ";

/// The table, a line a row, each ended by a line end. Columns that are empty everywhere are left out.
pub(crate) fn table(ui: &Ui, columns: &[Column], rows: &[Vec<Cell>]) -> String {
    let mut used: Vec<usize> = (0..columns.len()).filter(|i| rows.iter().any(|row| !row[*i].text.is_empty())).collect();
    let natural = natural(columns, rows, &used);
    let below = used.last().copied().filter(|last| matches!(columns[*last], Column::Sentence(_)) && excess(ui, &natural) > 0);
    used.retain(|i| Some(*i) != below);
    let widths = widths(ui, columns, rows, &used);
    let heading: Vec<Cell> = columns.iter().map(|column| Cell::inked(column.title(), Ink::Strong)).collect();
    let mut text = line(ui, columns, &heading, &used, &widths) + "\n";
    for row in rows {
        text.push_str(&(line(ui, columns, row, &used, &widths) + "\n"));
        let sentence = below.map_or("", |column| &row[column].text);
        text.extend(filled(sentence, ui.width.unwrap_or(usize::MAX) - INDENT.len()).iter().map(|line| format!("{INDENT}{line}\n")));
    }
    text
}

/// Columns that the lines are too long by.
fn excess(ui: &Ui, widths: &[usize]) -> usize {
    let total = widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1);
    ui.width.map_or(0, |width| total.saturating_sub(width))
}

/// A sentence in lines, broken between words; a word that is longer than a line stays whole, so that it can be copied.
fn filled(sentence: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in sentence.split_whitespace() {
        match lines.last_mut() {
            Some(line) if length(line) + 1 + length(word) <= width => line.push_str(&format!(" {word}")),
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// What the columns take that are as wide as their texts.
fn natural(columns: &[Column], rows: &[Vec<Cell>], used: &[usize]) -> Vec<usize> {
    let width = |i: &usize| rows.iter().map(|row| length(&row[*i].text)).max().unwrap_or(0).max(length(columns[*i].title()));
    used.iter().map(width).collect()
}

fn widths(ui: &Ui, columns: &[Column], rows: &[Vec<Cell>], used: &[usize]) -> Vec<usize> {
    let mut widths = natural(columns, rows, used);
    let mut excess = excess(ui, &widths);
    // The last flexible column gives way first: it is the one people miss least.
    for (position, i) in used.iter().enumerate().rev() {
        if matches!(columns[*i], Column::Flexible(_)) {
            let give = excess.min(widths[position].saturating_sub(LEAST));
            widths[position] -= give;
            excess -= give;
        }
    }
    widths
}

fn line(ui: &Ui, columns: &[Column], row: &[Cell], used: &[usize], widths: &[usize]) -> String {
    let mut line = String::new();
    for (position, (i, width)) in used.iter().zip(widths).enumerate() {
        let cell = &row[*i];
        let text = clipped(&cell.text, *width);
        let space = " ".repeat(width - length(&text));
        let painted = cell.ink.map_or_else(|| text.clone(), |ink| ui.paint(ink, &text));
        let last = position + 1 == used.len();
        match columns[*i] {
            Column::Right(_) => line.push_str(&format!("{space}{painted}")),
            Column::Left(_) | Column::Flexible(_) | Column::Sentence(_) if last => line.push_str(&painted),
            Column::Left(_) | Column::Flexible(_) | Column::Sentence(_) => line.push_str(&format!("{painted}{space}")),
        }
        if !last {
            line.push_str(&" ".repeat(GAP));
        }
    }
    line.trim_end().to_owned()
}

/// Columns a text takes: close enough for names, versions and plain sentences.
fn length(text: &str) -> usize {
    text.chars().count()
}

/// The text, with an ellipsis in place of what does not fit.
pub(crate) fn clipped(text: &str, width: usize) -> String {
    if length(text) <= width {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[Column] = &[Column::Left("Id"), Column::Flexible("Summary"), Column::Right("Size"), Column::Left("None")];

    fn rows() -> Vec<Vec<Cell>> {
        vec![
            vec!["a1".into(), "a summary of some length".into(), "9 kB".into(), "".into()],
            vec!["b22".into(), "short".into(), "12 MB".into(), "".into()],
        ]
    }

    #[test]
    fn columns_are_aligned_and_empty_ones_left_out() {
        let expected = "\
Id   Summary                    Size
a1   a summary of some length   9 kB
b22  short                     12 MB
";
        assert_eq!(table(&Ui::plain(), COLUMNS, &rows()), expected);
    }

    #[test]
    fn a_narrow_terminal_has_sentences_below_their_rows() {
        let columns = [Column::Left("Step"), Column::Sentence("What")];
        let said = "dpkg-source: all of this is a long sentence";
        let rows: Vec<Vec<Cell>> = vec![vec!["apply".into(), said.into()], vec!["check".into(), "".into()]];
        assert_eq!(table(&Ui::narrow(60), &columns, &rows), format!("Step   What\napply  {said}\ncheck\n"));
        let expected = "\
Step
apply
    dpkg-source: all of this is
    a long sentence
check
";
        assert_eq!(table(&Ui::narrow(31), &columns, &rows), expected);
    }

    #[test]
    fn a_narrow_terminal_shortens_the_flexible_column() {
        let expected = "\
Id   Summary       Size
a1   a summary …   9 kB
b22  short        12 MB
";
        assert_eq!(table(&Ui::narrow(23), COLUMNS, &rows()), expected);
    }
}
