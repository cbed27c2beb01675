//! The audit trail as text that other programs read: JSON lines and CSV.

use crate::model::AuditRow;

/// The first line of the CSV form.
pub const CSV_HEADER: &str = "number,at,tenant_id,actor,action,target,outcome,correlation_id,detail,hash\r\n";

/// `value` as one line of JSON without its end. Control characters are escaped, those that JSON would let stand included: the
/// line may be shown on a terminal.
pub fn json(value: &impl serde::Serialize) -> String {
    let text = serde_json::to_string(value).unwrap_or_default();
    if !text.contains(char::is_control) {
        return text;
    }
    // Compact JSON has control characters within strings alone.
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            escaped.push_str(&code(c));
        } else {
            escaped.push(c);
        }
    }
    escaped
}

/// A row as a line of CSV (RFC 4180), its end included. A field that a spreadsheet would take for a formula begins with `'`
/// (<https://owasp.org/www-community/attacks/CSV_Injection>); control characters are written as in JSON.
pub fn csv(row: &AuditRow) -> String {
    let entry = &row.entry;
    let (number, at, detail) = (row.number.to_string(), entry.at.to_string(), json(&entry.detail));
    let fields = [
        &*number,
        &*at,
        entry.tenant_id.as_str(),
        &*entry.actor,
        &*entry.action,
        &*entry.target,
        &*entry.outcome,
        entry.correlation_id.as_deref().unwrap_or_default(),
        &*detail,
        &*row.hash,
    ];
    let mut line = fields.map(field).join(",");
    line.push_str("\r\n");
    line
}

fn field(text: &str) -> String {
    let mut field = String::with_capacity(text.len() + 2);
    field.push('"');
    if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '|', '%']) {
        field.push('\'');
    }
    for c in text.chars() {
        match c {
            '"' => field.push_str("\"\""),
            c if c.is_control() => field.push_str(&code(c)),
            c => field.push(c),
        }
    }
    field.push('"');
    field
}

fn code(c: char) -> String {
    format!("\\u{:04x}", u32::from(c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AuditEntry, TenantId};

    fn row(actor: &str) -> AuditRow {
        let entry = AuditEntry {
            at: jiff::Timestamp::UNIX_EPOCH,
            tenant_id: TenantId::default_tenant(),
            actor: actor.into(),
            action: "server.register".into(),
            target: "a,b".into(),
            outcome: "ok".into(),
            correlation_id: None,
            detail: serde_json::json!({ "why": actor }),
        };
        AuditRow { number: 7, entry, hash: "ab".into() }
    }

    /// B-26: no field is a formula, and nothing in it ends a line or reaches a terminal
    #[test]
    fn hostile_fields_are_text_in_both_forms() {
        for hostile in
            ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r\n=1", "a\u{1b}[2Jb", "a\u{9b}2Jb", "\"x\"\r\ny\0"]
        {
            let line = csv(&row(hostile));
            let text = line.strip_suffix("\r\n").unwrap();
            assert!(!text.contains(char::is_control), "{text:?}");
            let actor = text.split("\",\"").nth(3).unwrap();
            assert!(!actor.starts_with(['=', '+', '-', '@', '\t', '\r']), "{actor:?}");
            let line = json(&row(hostile));
            assert!(!line.contains(char::is_control), "{line:?}");
            assert_eq!(serde_json::from_str::<AuditRow>(&line).unwrap(), row(hostile), "nothing is lost");
        }
    }

    #[test]
    fn a_line_has_as_many_fields_as_the_header() {
        let line = csv(&row("ann"));
        let expected = "\"7\",\"1970-01-01T00:00:00Z\",\"default\",\"ann\",\"server.register\",\"a,b\",\"ok\",\"\",\
            \"{\"\"why\"\":\"\"ann\"\"}\",\"ab\"\r\n";
        assert_eq!(line, expected);
        assert_eq!(CSV_HEADER.split(',').count(), 10);
    }
}
