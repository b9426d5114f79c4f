//! Aligned columns, colours on a terminal, numbers for people.

use jiff::Timestamp;
use std::{
    fmt::Write as _,
    io::{self, IsTerminal, Write as _},
};

/// A colour that means something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Bold,
    Good,
    Bad,
    Wait,
}

/// One cell.
#[derive(Debug, Clone)]
pub(super) struct Cell(pub(super) String, pub(super) Tone);

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self(text.into(), Tone::Plain)
    }
}

/// Rows of cells, printed in aligned columns.
#[derive(Debug, Default)]
pub(super) struct Table(Vec<Vec<Cell>>);

impl Table {
    pub(super) fn new(head: &[&str]) -> Self {
        Self(vec![head.iter().map(|h| Cell((*h).to_owned(), Tone::Bold)).collect()])
    }

    pub(super) fn row(&mut self, cells: Vec<Cell>) {
        self.0.push(cells);
    }

    /// The text, each line begun by `indent`.
    pub(super) fn render(&self, indent: &str, colour: bool) -> String {
        let columns = self.0.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| self.0.iter().filter_map(|r| r.get(column)).map(|c| c.0.chars().count()).max();
        let widths: Vec<_> = (0..columns).map(|c| width(c).unwrap_or(0)).collect();
        let mut text = String::new();
        for row in &self.0 {
            text.push_str(indent);
            for (i, (Cell(cell, tone), width)) in row.iter().zip(&widths).enumerate() {
                let gap = if i + 1 < row.len() { width - cell.chars().count() + 2 } else { 0 };
                text.push_str(&paint(cell, *tone, colour));
                text.extend(std::iter::repeat_n(' ', gap));
            }
            text.push('\n');
        }
        text
    }
}

/// The text in the colour of its tone.
pub(super) fn paint(text: &str, tone: Tone, colour: bool) -> String {
    let code = match tone {
        Tone::Plain => return text.to_owned(),
        _ if !colour => return text.to_owned(),
        Tone::Bold => 1,
        Tone::Good => 32,
        Tone::Bad => 31,
        Tone::Wait => 33,
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}

/// Colours are for terminals, and for people who have not said no (no-color.org).
pub(super) fn colour() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

/// Prints; a reader that has gone (`| head`) is no failure.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(why) if why.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => Ok(done?),
    }
}

/// `4.1 ms`, `380 ms`, `2.5 s`.
pub(super) fn ms(ms: f64) -> String {
    match ms {
        _ if ms < 100.0 => format!("{ms:.1} ms"),
        _ if ms < 1000.0 => format!("{ms:.0} ms"),
        _ => format!("{:.1} s", ms / 1000.0),
    }
}

/// `12.5 %`, with as many digits as it takes to see a small one.
pub(super) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    match percent {
        _ if percent == 0.0 || percent >= 10.0 => format!("{percent:.1} %"),
        _ if percent >= 0.01 => format!("{percent:.2} %"),
        _ => format!("{percent:.1e} %"),
    }
}

/// How long ago, as kubectl writes it: `45s`, `12m`, `3h`, `8d`.
pub(super) fn age(since: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(since).as_secs().max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// The calendar, for ages.
#[expect(clippy::disallowed_methods, reason = "the command line lives in the present")]
pub(super) fn now() -> Timestamp {
    Timestamp::now()
}

/// `v1=90 v2=10`.
pub(super) fn weights(subsets: &[crate::admin::model::Subset]) -> String {
    let mut text = String::new();
    for subset in subsets {
        let gap = if text.is_empty() { "" } else { " " };
        // Writing to a String cannot fail.
        let _ = write!(text, "{gap}{}={}", subset.name, subset.weight);
    }
    text
}
