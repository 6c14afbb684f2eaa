//! Where output goes and how it may look: decided once, from the arguments and the terminals.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};

use crate::args::Global;
use crate::error::ClientError;
use crate::render::escape::escaped_json;

/// The terminal and the caller's wishes.
#[derive(Debug, Clone)]
pub(crate) struct Ui {
    /// JSON for programs instead of text for people.
    pub(crate) json: bool,
    /// Results and errors only.
    pub(crate) quiet: bool,
    /// Whether progress is wanted at all.
    pub(crate) progress: bool,
    /// Standard input is a terminal.
    pub(crate) asks: bool,
    /// Standard error is a terminal.
    pub(crate) bar: bool,
    /// Columns of standard output; `None` when it is no terminal and lines may be as long as they are.
    pub(crate) width: Option<usize>,
    color_out: bool,
    color_err: bool,
}

/// What a colour says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ink {
    /// Table headings, names.
    Strong,
    /// It went well.
    Good,
    /// It takes something away, or is worth a look.
    Caution,
    /// It went wrong.
    Bad,
    /// Less important.
    Dim,
}

impl Ink {
    const fn code(self) -> &'static str {
        match self {
            Self::Strong => "1",
            Self::Good => "32",
            Self::Caution => "33",
            Self::Bad => "1;31",
            Self::Dim => "2",
        }
    }
}

impl Ui {
    /// From the arguments, the terminals, `NO_COLOR` and `TERM`.
    #[allow(clippy::disallowed_methods)] // NO_COLOR and TERM are what terminals and people say; they only choose colours.
    pub(crate) fn from_environment(global: &Global) -> Self {
        let out = io::stdout().is_terminal();
        let err = io::stderr().is_terminal();
        let colors = std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()) && std::env::var_os("TERM").is_none_or(|v| v != "dumb");
        let columns = || terminal_size::terminal_size().map_or(80, |(width, _)| usize::from(width.0));
        Self {
            json: global.json,
            quiet: global.quiet,
            progress: !global.no_progress && !global.json && !global.quiet,
            asks: io::stdin().is_terminal(),
            bar: err,
            width: out.then(columns).map(|columns| columns.max(40)),
            color_out: out && colors,
            color_err: err && colors,
        }
    }

    /// Text for a pipe, for tests.
    #[cfg(test)]
    pub(crate) const fn plain() -> Self {
        Self { json: false, quiet: false, progress: true, asks: false, bar: false, width: None, color_out: false, color_err: false }
    }

    /// Text for a terminal of so many columns, without colours, for tests.
    #[cfg(test)]
    pub(crate) const fn narrow(columns: usize) -> Self {
        Self { width: Some(columns), ..Self::plain() }
    }

    /// Text for a terminal of any width, with colours, for tests.
    #[cfg(test)]
    pub(crate) const fn colored() -> Self {
        Self { color_out: true, ..Self::plain() }
    }

    /// Colours a text for standard output.
    pub(crate) fn paint(&self, ink: Ink, text: &str) -> String {
        painted(self.color_out, ink, text)
    }

    /// Colours a text for standard error.
    pub(crate) fn paint_err(&self, ink: Ink, text: &str) -> String {
        painted(self.color_err, ink, text)
    }

    /// Writes to standard output as it is; JSON with all of its control characters spelled out.
    pub(crate) fn write(&self, text: &str) -> Result<(), ClientError> {
        let text = if self.json { Cow::Owned(escaped_json(text)) } else { Cow::Borrowed(text) };
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(ClientError::Output)
    }

    /// Writes a line to standard output.
    pub(crate) fn line(&self, text: &str) -> Result<(), ClientError> {
        self.write(&format!("{text}\n"))
    }

    /// Writes a line for people: not with `--json` or `-q`.
    pub(crate) fn note(&self, text: &str) -> Result<(), ClientError> {
        if self.json || self.quiet { Ok(()) } else { self.line(text) }
    }

    /// Writes a line to standard output where a failure to write cannot be told any more.
    pub(crate) fn try_line(&self, text: &str) {
        if let Err(error) = self.line(text) {
            self.warn(&error.to_string());
        }
    }

    /// Writes a line to standard error. There is no place to report that this failed.
    pub(crate) fn warn(&self, text: &str) {
        writeln!(io::stderr().lock(), "{text}").ok();
    }
}

fn painted(color: bool, ink: Ink, text: &str) -> String {
    if color { format!("\u{1b}[{}m{text}\u{1b}[0m", ink.code()) } else { text.to_owned() }
}
