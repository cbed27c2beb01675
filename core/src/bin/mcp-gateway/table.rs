//! The printed output: text, JSON, aligned columns.

use std::io::{ErrorKind, Write};

use serde::Serialize;

use super::exit::Failure;

/// Prints `text` and a line's end. A reader that went away is no failure: it has seen enough.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Prints `value` as JSON, indented.
pub(crate) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::failed(error.to_string()))?;
    print(&text)
}

/// Columns as wide as their widest cell, two spaces between them.
pub(crate) fn columns<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let rows: Vec<[String; N]> = rows.iter().map(|row| row.each_ref().map(|cell| plain(cell))).collect();
    let mut widths = head.map(width);
    for row in &rows {
        for (column, cell) in widths.iter_mut().zip(row) {
            *column = (*column).max(width(cell));
        }
    }
    let line = |cells: &[String; N]| {
        let padded = cells
            .iter()
            .zip(widths)
            .map(|(cell, column)| format!("{cell}{}", " ".repeat(column - width(cell))));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let head = head.map(str::to_owned);
    std::iter::once(&head).chain(&rows).map(line).collect::<Vec<_>>().join("\n")
}

fn width(text: &str) -> usize {
    text.chars().count()
}

/// Text that a server chose, without characters that could move a terminal's cursor.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_cannot_move_the_cursor() {
        let rows = [["a".to_owned(), "\x1b[2Jé".to_owned()], ["long name".to_owned(), "y".to_owned()]];
        assert_eq!(columns(["NAME", "X"], &rows), "NAME       X\na           [2Jé\nlong name  y");
    }
}
