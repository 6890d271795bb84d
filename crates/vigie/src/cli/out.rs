//! Output: tables, notes, progress.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Prints a table with aligned columns to standard output; numbers to the right.
pub(super) fn table(header: &[&str], rows: &[Vec<String>]) -> std::io::Result<()> {
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .chain(header.get(column).map(|name| name.chars().count()))
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let mut stdout = std::io::stdout().lock();
    let names: Vec<String> = header.iter().map(|name| (*name).to_owned()).collect();
    for row in std::iter::once(&names).chain(rows) {
        let cells = row.iter().zip(&widths).map(|(cell, width)| {
            if cell.parse::<f64>().is_ok() { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        writeln!(stdout, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    stdout.flush()
}

/// Prints a line to standard output.
pub(super) fn line(text: impl std::fmt::Display) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{text}")?;
    stdout.flush()
}

/// Prints a note to standard error.
pub(super) fn note(text: impl std::fmt::Display) {
    // Nobody reads any more: there is nobody to tell.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// A progress bar on a terminal; elsewhere one plain line a few seconds. Shown only when the work takes more than a second.
pub(super) struct Progress {
    bar: ProgressBar,
    plain: bool,
    what: &'static str,
    said: Duration,
}

/// The parts of work whose share is known.
pub(super) const WHOLE: u64 = 1_000;
/// Plain lines come this far apart.
const EVERY: Duration = Duration::from_secs(5);

impl Progress {
    /// Progress through so many bytes.
    pub(super) fn bytes(what: &'static str, total: u64) -> Self {
        Self::new(what, Some(total), "{msg} {bar:32} {bytes}/{total_bytes} {bytes_per_sec} eta {eta}")
    }

    /// Progress through [`WHOLE`] parts.
    pub(super) fn share(what: &'static str) -> Self {
        Self::new(what, Some(WHOLE), "{msg} {bar:32} {percent} % {elapsed}")
    }

    /// Work of unknown length.
    pub(super) fn spinner(what: &'static str) -> Self {
        Self::new(what, None, "{spinner} {msg} {elapsed}")
    }

    fn new(what: &'static str, total: Option<u64>, template: &str) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let target = if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(total, target);
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(what);
        if total.is_none() && terminal {
            bar.enable_steady_tick(Duration::from_millis(120));
        }
        Self { bar, plain: !terminal, what, said: Duration::from_secs(1) }
    }

    /// How far it is.
    pub(super) fn set(&mut self, position: u64) {
        self.bar.set_position(position);
        let elapsed = self.bar.elapsed();
        if self.plain && elapsed > self.said {
            self.said = elapsed + EVERY;
            match self.bar.length() {
                Some(total) if total > 0 => {
                    note(format_args!("{}: {} %", self.what, position.saturating_mul(100) / total));
                }
                _ => note(format_args!("{}: {} s", self.what, elapsed.as_secs())),
            }
        }
    }

    /// Done: the bar goes away.
    pub(super) fn finish(self) {
        self.bar.finish_and_clear();
    }
}
