//! What is shown to people: tables, colours, faults of the configuration.

use std::fmt::Write as _;
use std::io::IsTerminal;

use api::{Problem, Severity};

/// Whether to use colours on a stream (<https://no-color.org>).
pub(crate) fn colours(stream: &impl IsTerminal) -> bool {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    stream.is_terminal() && !unwanted
}

/// How text stands out.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Style {
    Bold,
    Red,
    Yellow,
    Green,
    Cyan,
    Dim,
}

/// `text` in a style, if colours are wanted.
pub(crate) fn styled(text: &str, style: Style, colours: bool) -> String {
    if !colours {
        return text.to_owned();
    }
    let code = match style {
        Style::Bold => "1",
        Style::Red => "1;31",
        Style::Green => "32",
        Style::Cyan => "36",
        Style::Dim => "2",
        Style::Yellow => "1;33",
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}

/// Rows under headings, no wider than the terminal.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(headings: &[&str]) -> Self {
        let headings = headings.iter().map(|h| (*h).to_owned()).collect();
        Self {
            rows: vec![headings],
        }
    }

    /// Adds a row with as many cells as there are headings.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(visible).collect());
    }

    /// The table as text. Without a width nothing is cut, as for another program.
    pub(crate) fn render(&self, width: Option<usize>, colours: bool) -> String {
        let widths = self.widths(width);
        let mut text = String::new();
        for (number, row) in self.rows.iter().enumerate() {
            let line = line(row, &widths);
            let heading = number == 0;
            text += &if heading {
                styled(&line, Style::Bold, colours)
            } else {
                line
            };
            text.push('\n');
        }
        text
    }

    /// The width of each column; the widest give way until the table fits.
    fn widths(&self, width: Option<usize>) -> Vec<usize> {
        let columns = self.rows[0].len();
        let longest = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let mut widths: Vec<_> = (0..columns).map(longest).collect();
        let room = width.map_or(usize::MAX, |w| w.saturating_sub(2 * (columns - 1)));
        while widths.iter().sum::<usize>() > room {
            match widths.iter_mut().max() {
                Some(widest) if *widest > NARROWEST => *widest -= 1,
                _ => break,
            }
        }
        widths
    }
}

fn line(row: &[String], widths: &[usize]) -> String {
    let mut line = String::new();
    for (cell, &width) in row.iter().zip(widths) {
        if !line.is_empty() {
            line += "  ";
        }
        let cell = cut(cell, width);
        // Formatting to a string can't fail.
        let _ = write!(line, "{cell:width$}");
    }
    line.trim_end().to_owned()
}

/// The beginning of `cell` with a mark, if it has more characters than `width`.
pub(crate) fn cut(cell: &str, width: usize) -> String {
    if cell.chars().count() <= width {
        return cell.to_owned();
    }
    let kept = width.saturating_sub(1);
    cell.chars().take(kept).chain(['…']).collect()
}

/// What a phone says about itself must not move the cursor.
fn visible(cell: String) -> String {
    if cell.chars().any(char::is_control) {
        return cell.replace(char::is_control, "?");
    }
    cell
}

/// The terminal's width, if standard output is one.
pub(crate) fn width() -> Option<usize> {
    if !std::io::stdout().is_terminal() {
        return None;
    }
    terminal_size::terminal_size().map(|(width, _)| usize::from(width.0))
}

/// A fault of the configuration with the line at fault.
pub(crate) fn problem(problem: &Problem, colours: bool) -> String {
    let (word, style) = match problem.severity {
        Severity::Error => ("error", Style::Red),
        Severity::Warning => ("warning", Style::Yellow),
    };
    let mut text = format!("{}: {}", styled(word, style, colours), head(problem));
    if let (Some(excerpt), Some(line)) = (&problem.excerpt, problem.line)
        && !excerpt.text.trim().is_empty()
    {
        let margin = " ".repeat(line.to_string().len());
        let (before, mark) = (" ".repeat(excerpt.start), "^".repeat(excerpt.width));
        let _ = write!(text, "\n {line} | {}", excerpt.text);
        let _ = write!(
            text,
            "\n {margin} | {before}{}",
            styled(&mark, style, colours)
        );
    }
    if !problem.remedy.is_empty() {
        let _ = write!(
            text,
            "\n  {}: {}",
            styled("remedy", Style::Green, colours),
            problem.remedy
        );
    }
    text
}

fn head(problem: &Problem) -> String {
    let bare = Problem {
        remedy: String::new(),
        ..problem.clone()
    };
    bare.to_string()
}

/// A time span as people say it: `3d 4h`, `5m 10s`.
pub(crate) fn span(seconds: u64) -> String {
    let parts = [
        (seconds / 86_400, 'd'),
        (seconds / 3600 % 24, 'h'),
        (seconds / 60 % 60, 'm'),
        (seconds % 60, 's'),
    ];
    let first = parts.iter().position(|(n, _)| *n > 0).unwrap_or(3);
    let shown = parts[first..]
        .iter()
        .take(2)
        .filter(|(n, _)| *n > 0 || first == 3);
    let shown: Vec<_> = shown.map(|(n, unit)| format!("{n}{unit}")).collect();
    shown.join(" ")
}

/// A column is not cut below this.
const NARROWEST: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["USER", "CONTACT"]);
        table.row([
            "1001".into(),
            "sip:1001@192.0.2.7:5060;transport=udp".into(),
        ]);
        table.row(["zoë".into(), "x\x1b[2J".into()]);
        table
    }

    #[test]
    fn columns_are_aligned_and_control_characters_are_shown() {
        let text = table().render(None, false);
        let expected = "USER  CONTACT\n1001  sip:1001@192.0.2.7:5060;transport=udp\nzoë   x?[2J\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_narrow_terminal_cuts_the_widest_column() {
        let text = table().render(Some(20), false);
        assert!(
            text.lines().all(|line| line.chars().count() <= 20),
            "{text}"
        );
        assert!(text.contains("1001  sip:1001@192.…"), "{text}");
        assert!(!table().render(Some(1), true).is_empty());
    }

    #[test]
    fn spans_have_two_units_at_most() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (3661, "1h 1m"),
            (90_000, "1d 1h"),
            (86_401, "1d"),
        ] {
            assert_eq!(span(seconds), text);
        }
    }
}
