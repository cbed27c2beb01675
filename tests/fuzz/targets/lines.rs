//! Messages as lines: what is framed is one line, and lines are those that the text has.

use futures_util::FutureExt;
use mcp_registry_gateway::rpc::lines::{Line, Lines, excerpt, framed};

const LIMIT: usize = 24;

pub(crate) fn lines(input: &[u8]) {
    let mut expected: Vec<&[u8]> = input.split(|byte| *byte == b'\n').collect();
    // What stands behind the last newline is a line only if it is something.
    expected.pop_if(|last| last.is_empty());
    let ended = input.last() == Some(&b'\n');
    let count = expected.len();
    let expected = expected.iter().enumerate().map(|(n, line)| {
        // A carriage return belongs to the newline behind it.
        let whole = if n + 1 < count || ended { line.strip_suffix(b"\r").unwrap_or(line) } else { line };
        if whole.len() > LIMIT {
            Line::Cut(whole[..LIMIT].to_vec().into())
        } else {
            Line::Whole(whole.to_vec().into())
        }
    });
    assert_eq!(read(input), expected.collect::<Vec<_>>());

    let line = framed(input);
    assert_eq!(line.iter().position(|byte| *byte == b'\n'), Some(line.len() - 1), "one line");
    assert_eq!(line.len(), input.len() + 1);
    assert!(!excerpt(input, 40).chars().any(char::is_control));
}

fn read(input: &[u8]) -> Vec<Line> {
    let mut lines = Lines::new(input, LIMIT);
    let mut found = Vec::new();
    while let Some(line) = lines.next().now_or_never().expect("a slice is always ready") {
        found.push(line);
    }
    found
}
