//! How it looks: headings, what was typed, aligned columns; colours on a terminal only.

use std::io::{IsTerminal as _, stdout};
use std::time::Duration;

fn paint(text: &str, code: u8) -> String {
    // no-color.org
    let wanted = stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    if wanted { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

/// Something that is as it should be.
pub(crate) fn good(text: &str) -> String {
    paint(text, 32)
}

/// Something that is not.
pub(crate) fn bad(text: &str) -> String {
    paint(text, 31)
}

/// Something that matters less.
pub(crate) fn faint(text: &str) -> String {
    paint(text, 2)
}

/// Begins a step.
pub(crate) fn step(title: &str) {
    println!("\n{}", paint(&format!("== {title} =="), 1));
}

/// A command as it would be typed.
pub(crate) fn typed(command: &str) {
    println!("\n{}", paint(&format!("$ {command}"), 36));
}

/// The rows, in aligned columns: the first one to the left, the others to the right.
pub(crate) fn table(rows: &[Vec<String>]) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    for row in rows {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| match column {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        println!("  {}", cells.collect::<Vec<_>>().join("  "));
    }
}

/// Cells of a row.
pub(crate) fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

/// `12,345`.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `4.1 ms`.
pub(crate) fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}
