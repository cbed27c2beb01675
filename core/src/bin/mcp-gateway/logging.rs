//! Log lines on standard error, for people or for programs.

use std::io::IsTerminal;

use mcp_registry_gateway::config::Config;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

use super::exit::Failure;
use super::wiring::Common;

/// Changes the log level.
pub(crate) type Level = reload::Handle<EnvFilter, Registry>;

/// Starts to log as `config` says.
pub(crate) fn start(config: &Config) -> Result<Level, Failure> {
    let (filter, handle) = reload::Layer::new(parse(&config.log.level)?);
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = if Common::json_logs(config) {
        lines.json().flatten_event(true).with_span_list(false).boxed()
    } else if std::io::stderr().is_terminal() {
        // Colours unless NO_COLOR is set, which this layer heeds by itself.
        lines.with_target(false).boxed()
    } else {
        lines.with_target(false).with_ansi(false).boxed()
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .try_init()
        .map_err(|error| Failure::failed(format!("logging cannot start: {error}")))?;
    Ok(handle)
}

/// Reads `error`, …, `trace`, or directives. One word is about the gateway: of the libraries under it, only warnings are
/// of interest then.
pub(crate) fn parse(level: &str) -> Result<EnvFilter, Failure> {
    let directives = match level.parse::<LevelFilter>() {
        Ok(word) => format!("{},mcp_registry_gateway={word},mcp_gateway={word}", word.min(LevelFilter::WARN)),
        Err(_) => level.to_owned(),
    };
    EnvFilter::builder().parse(directives).map_err(|error| {
        Failure::usage(format!(
            "`log.level` is `{level}`: expected error, warn, info, debug, trace, or directives such as \
             info,mcp_registry_gateway=debug ({error})"
        ))
    })
}
