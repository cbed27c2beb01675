//! The board as lines of text that fit the terminal.

use std::fmt::Write as _;

use super::failover::Failover;
use super::screen::{Board, Progress, Row};
use super::statistics::Run;

/// Lines that the table has at most.
pub(super) const HEIGHT: u16 = 26;
/// From this width on each count has a bar beside it.
const WIDE: usize = 112;
const BAR: usize = 8;

#[derive(Clone, Copy)]
enum Style {
    Plain,
    Bold,
    Dim,
    Good,
    Bad,
}

impl Style {
    const fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Bold => "\x1b[1m",
            Self::Dim => "\x1b[2m",
            Self::Good => "\x1b[32m",
            Self::Bad => "\x1b[31m",
        }
    }
}

/// One line: pieces, each in its style.
#[derive(Default)]
struct Line(Vec<(Style, String)>);

impl Line {
    fn of(style: Style, text: impl Into<String>) -> Self {
        Self(vec![(style, text.into())])
    }

    fn and(mut self, style: Style, text: impl Into<String>) -> Self {
        self.0.push((style, text.into()));
        self
    }

    /// Cuts the line at `width` characters and writes the styles if `color`.
    fn fit(self, width: usize, color: bool) -> String {
        let (mut out, mut left) = (String::new(), width);
        for (style, text) in self.0 {
            let piece: String = text.chars().take(left).collect();
            left -= piece.chars().count();
            if color && !style.code().is_empty() && !piece.is_empty() {
                let _ = write!(out, "{}{piece}\x1b[0m", style.code());
            } else {
                out.push_str(&piece);
            }
        }
        out
    }
}

/// The table; no line is wider than `width` characters.
pub(super) fn lines(board: &Board, width: usize, color: bool) -> Vec<String> {
    let bars = width >= WIDE;
    let mut all = vec![Line::of(Style::Bold, board.headline.clone()), Line::default(), head(board, bars)];
    all.extend(board.rows.iter().map(|row| algorithm(row, &board.servers, bars)));
    all.push(Line::default());
    all.extend(failover(&board.failover, &board.servers));
    if let Some(verdict) = &board.verdict {
        all.extend([Line::default(), mark(true).and(Style::Bold, format!(" {verdict}"))]);
    }
    all.into_iter().map(|line| line.fit(width, color)).collect()
}

/// One finished run as a line, for output without a terminal.
pub(super) fn plain(run: &Run) -> String {
    let mut line = format!("{}: {} calls, {} errors", run.name, run.calls, run.errors);
    for (name, calls) in &run.per_server {
        let _ = write!(line, ", {name} {calls}");
        if run.weights.values().any(|weight| *weight != 1) {
            let _ = write!(line, " (weight {})", run.weights.get(name).copied().unwrap_or(0));
        }
    }
    let _ = write!(line, ", max/mean {:.3}, p50 {:.2} ms", run.max_over_mean, run.p50_ms);
    line
}

/// The outcome of the failover, in one line.
pub(super) fn settled(report: &Failover) -> String {
    let held = report.in_flight_at_kill;
    let mut text = format!(
        "{} calls, {} errors, {} lost, {} doubled; in flight at the kill: {}, of which executed {}, sent again {}",
        report.calls,
        report.errors,
        report.lost,
        report.duplicates,
        held.calls,
        held.executed,
        held.sent_again
    );
    if report.not_sent > 0 {
        let _ = write!(text, "; refused as not sent, and sent again: {}", report.not_sent);
    }
    text
}

fn head(board: &Board, bars: bool) -> Line {
    let cell = cell_width(bars);
    let mut text = format!("  {:<18}{:>7}{:>7} ", "algorithm", "calls", "errors");
    for server in &board.servers {
        let _ = write!(text, " {server:<cell$}");
    }
    let _ = write!(text, "{:>9}{:>10}", "max/mean", "p50");
    Line::of(Style::Dim, text)
}

fn algorithm(row: &Row, servers: &[String], bars: bool) -> Line {
    let counts = row.run.as_ref().map_or(&row.counts.per_server, |run| &run.per_server);
    let (calls, errors) =
        row.run.as_ref().map_or((row.counts.calls, row.counts.errors), |run| (run.calls, run.errors));
    let most = counts.values().copied().max().unwrap_or(0).max(1);
    let (first, style) = match &row.run {
        Some(run) => (mark(run.broken.is_none()), Style::Plain),
        None if calls > 0 => (Line::of(Style::Bold, "›"), Style::Plain),
        None => (Line::of(Style::Dim, "·"), Style::Dim),
    };
    let mut line = first.and(style, format!(" {:<18}{calls:>7}", row.title));
    line = line.and(if errors > 0 { Style::Bad } else { style }, format!("{errors:>7} "));
    for server in servers {
        let calls = counts.get(server).copied().unwrap_or(0);
        line = line.and(style, format!(" {calls:>6}"));
        if bars {
            let filled = usize::try_from(calls * BAR as u64 / most).unwrap_or(BAR);
            line = line.and(Style::Good, format!(" {:<BAR$}", "▇".repeat(filled)));
        }
    }
    match &row.run {
        Some(run) => {
            line.and(style, format!("{:>9.3}{:>10}", run.max_over_mean, format!("{:.2} ms", run.p50_ms)))
        }
        None => line,
    }
}

fn failover(progress: &Progress, servers: &[String]) -> Vec<Line> {
    if progress.steps.is_empty() {
        return vec![Line::of(Style::Dim, "· failover")];
    }
    let mut lines = vec![match &progress.report {
        Some(report) => mark(report.broken.is_none()).and(Style::Plain, " failover"),
        None => Line::of(Style::Bold, "› failover"),
    }];
    let mut states = Line::of(Style::Plain, "  ");
    for (at, server) in servers.iter().enumerate() {
        let state = progress.breakers.get(at).map_or("closed", String::as_str);
        let style = match state {
            "closed" => Style::Good,
            "open" => Style::Bad,
            _ => Style::Bold,
        };
        let calls = progress.per_server.get(server).copied().unwrap_or(0);
        states = states
            .and(Style::Plain, format!("{server} {calls} "))
            .and(style, format!("{:<12}", state.replace('_', "-")));
    }
    lines.push(states);
    lines.extend(progress.steps.iter().map(|step| Line::of(Style::Plain, format!("    {step}"))));
    lines.extend(
        progress.report.iter().map(|report| Line::of(Style::Plain, format!("    {}", settled(report)))),
    );
    lines
}

fn mark(good: bool) -> Line {
    if good { Line::of(Style::Good, "✓") } else { Line::of(Style::Bad, "✗") }
}

const fn cell_width(bars: bool) -> usize {
    if bars { 6 + 1 + BAR } else { 6 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board() -> Board {
        let servers = vec!["calc-1".to_owned(), "calc-2".to_owned()];
        let mut row = Row { title: "round_robin".into(), ..Row::default() };
        row.counts.calls = 30;
        row.counts.per_server = [("calc-1".to_owned(), 20), ("calc-2".to_owned(), 10)].into();
        let failover = Progress { steps: vec!["calc-2 killed".into()], ..Progress::default() };
        let verdict = Some("everything held".into());
        Board { headline: "demo".into(), servers, rows: vec![row], failover, verdict }
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_at_any_width() {
        for width in 1..160 {
            for line in lines(&board(), width, false) {
                assert!(line.chars().count() <= width, "{width}: {line}");
            }
        }
    }

    #[test]
    fn without_colour_there_is_no_escape_sequence() {
        assert!(lines(&board(), 120, false).iter().all(|line| !line.contains('\x1b')));
        assert!(lines(&board(), 120, true).iter().any(|line| line.contains('\x1b')));
    }

    #[test]
    fn a_bar_is_as_long_as_its_share_of_the_largest() {
        let text = lines(&board(), 120, false).join("\n");
        assert!(text.contains("    20 ▇▇▇▇▇▇▇▇     10 ▇▇▇▇ "), "{text}");
        assert!(!lines(&board(), 80, false).join("\n").contains('▇'));
    }
}
