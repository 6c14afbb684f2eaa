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
}

impl Column {
    const fn title(self) -> &'static str {
        match self {
            Self::Left(title) | Self::Right(title) | Self::Flexible(title) => title,
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

/// The table, a line a row, each ended by a line end. Columns that are empty everywhere are left out.
pub(crate) fn table(ui: &Ui, columns: &[Column], rows: &[Vec<Cell>]) -> String {
    let used: Vec<usize> = (0..columns.len()).filter(|i| rows.iter().any(|row| !row[*i].text.is_empty())).collect();
    let widths = widths(ui, columns, rows, &used);
    let heading: Vec<Cell> = columns.iter().map(|column| Cell::inked(column.title(), Ink::Strong)).collect();
    let mut text = String::new();
    for row in std::iter::once(&heading).chain(rows) {
        text.push_str(&line(ui, columns, row, &used, &widths));
        text.push('\n');
    }
    text
}

fn widths(ui: &Ui, columns: &[Column], rows: &[Vec<Cell>], used: &[usize]) -> Vec<usize> {
    let natural = |i: &usize| rows.iter().map(|row| length(&row[*i].text)).max().unwrap_or(0).max(length(columns[*i].title()));
    let mut widths: Vec<usize> = used.iter().map(natural).collect();
    let total = widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1);
    let mut excess = ui.width.map_or(0, |width| total.saturating_sub(width));
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
            Column::Left(_) | Column::Flexible(_) if last => line.push_str(&painted),
            Column::Left(_) | Column::Flexible(_) => line.push_str(&format!("{painted}{space}")),
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
    fn a_narrow_terminal_shortens_the_flexible_column() {
        let expected = "\
Id   Summary       Size
a1   a summary …   9 kB
b22  short        12 MB
";
        assert_eq!(table(&Ui::narrow(23), COLUMNS, &rows()), expected);
    }
}
