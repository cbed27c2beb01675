//! `settings.md`: every key of the configuration file and every member of a registration.

use std::fmt::Write;

use mcp_registry_gateway::config::{Section, Setting, sections};
use serde_json::Value;

use super::{code, head, table};

const ABOUT: &str = "
Every key has a default. `mcp-gateway.toml` is looked for in the working directory, then in the data directory; `--config FILE` names
another file. An environment variable wins over the file, an option of the command line over both. `mcp-gateway validate` reports every
mistake at once.

A changed file is taken up by itself and on SIGHUP, as a whole. A file with a mistake, or with a change that needs a restart, changes
nothing; the log says why.

`--data-dir DIR` or `MREG_DATA_DIR` names the data directory. Without it: the platform's own, `~/.local/share/mcp-gateway` on Linux.
`MREG_CONFIG` names the configuration file, `MREG_URL`, `MREG_KEY` and `MREG_CA_FILE` tell the commands which gateway to talk to, and `MREG_LOG` is
short for `MREG_LOG__LEVEL`. A list of texts is divided by commas in the environment.
";

const SERVERS: &str = "
The members of a registration are the same in the file, in the REST API and in `mcp-gateway register --from FILE`. `algorithm`, `affinity`,
`max_load` and `drift` belong to the service: the replica that was registered first sets them. A change through the REST API
gives `configuration` and `health_check` as a whole.
";

pub(super) fn page() -> String {
    let mut page = head("Settings", "the fields of the configuration") + ABOUT;
    for Section { table: name, settings } in sections() {
        let title = if name.starts_with('[') { code(name) } else { name.to_owned() };
        let _ = writeln!(page, "\n## {title}");
        if name == "[[servers]]" {
            page.push_str(SERVERS);
            page.push('\n');
        }
        let has_variables = settings.iter().any(|setting| setting.variable.is_some());
        let columns: &[&str] = if has_variables {
            &["key", "environment", "type", "default", "meaning"]
        } else {
            &["key", "type", "default", "meaning"]
        };
        page += &table(columns, settings.iter().map(|setting| row(setting, has_variables)));
    }
    page
}

fn row(setting: &Setting, has_variables: bool) -> Vec<String> {
    let mut row = vec![code(&setting.key)];
    if has_variables {
        row.push(setting.variable.as_deref().map_or_else(|| "file only".to_owned(), code));
    }
    row.push(setting.kind.clone());
    row.push(setting.default.as_ref().map_or_else(|| "–".to_owned(), default));
    row.push(setting.meaning.clone());
    row
}

fn default(value: &Value) -> String {
    match value {
        Value::String(text) => code(text),
        // Durations are numbers with a fraction that is zero as a rule.
        Value::Number(number) => code(number.to_string().trim_end_matches(".0")),
        other => code(&other.to_string()),
    }
}
