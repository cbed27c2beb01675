//! `commands.md`: every command with its options, and the exit codes.

use std::fmt::Write;

use clap::{Arg, Command, CommandFactory};

use super::{code, head, table};
use crate::exit;

pub(super) fn page() -> String {
    let program = crate::Cli::command();
    let mut page = head("Commands", "the program's own help");
    let _ = write!(page, "\n```text\n{}\n```\n\n## Options of every command\n", exit::HELP);
    page += &options(&program, Arg::is_global_set);
    let visible = |command: &&Command| !command.is_hide_set();
    page += "\n## Overview\n";
    let overview = program.get_subcommands().filter(visible);
    page += &table(
        &["command", "meaning"],
        overview.map(|command| vec![code(command.get_name()), about(command)]),
    );
    for command in program.get_subcommands().filter(visible) {
        describe(&mut page, command, "mcp-gateway");
    }
    page
}

fn describe(page: &mut String, command: &Command, parent: &str) {
    let name = format!("{parent} {}", command.get_name());
    let _ = write!(page, "\n## {}\n{}\n", code(&name), about(command));
    let own = options(command, |argument| !argument.is_global_set());
    if !own.is_empty() {
        let _ = write!(page, "\n{own}");
    }
    if let Some(more) = command.get_after_help() {
        let _ = write!(page, "\n```text\n{more}\n```\n");
    }
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        describe(page, below, &name);
    }
}

fn about(command: &Command) -> String {
    command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default()
}

fn options(command: &Command, wanted: impl Fn(&Arg) -> bool) -> String {
    let shown = |argument: &&Arg| {
        wanted(argument)
            && !argument.is_hide_set()
            && !["help", "version"].contains(&argument.get_id().as_str())
    };
    let row = |argument: &Arg| {
        let variable = argument.get_env().map(|name| code(&name.to_string_lossy())).unwrap_or_default();
        let values: Vec<_> =
            argument.get_default_values().iter().map(|value| code(&value.to_string_lossy())).collect();
        let help =
            argument.get_long_help().or(argument.get_help()).map(ToString::to_string).unwrap_or_default();
        let choices: Vec<_> =
            argument.get_possible_values().iter().map(|value| code(value.get_name())).collect();
        let takes_value = argument.get_action().takes_values();
        let help =
            if takes_value && !choices.is_empty() { format!("{help}: {}", choices.join(", ")) } else { help };
        vec![code(&written(argument)), variable, values.join(" "), help]
    };
    table(&["option", "environment", "default", "meaning"], command.get_arguments().filter(shown).map(row))
}

/// An option as it is typed.
fn written(argument: &Arg) -> String {
    let names = argument.get_value_names().unwrap_or_default();
    let values: Vec<String> = names
        .iter()
        .map(|name| if name.contains('<') { name.to_string() } else { format!("<{name}>") })
        .collect();
    let value = if argument.get_action().takes_values() { values.join(" ") } else { String::new() };
    match argument.get_long() {
        Some(long) if value.is_empty() => format!("--{long}"),
        Some(long) => format!("--{long} {value}"),
        None if value.is_empty() => format!("<{}>", argument.get_id().as_str().to_uppercase()),
        None => value,
    }
}
