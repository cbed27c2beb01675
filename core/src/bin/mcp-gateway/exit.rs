//! How the program ends: codes that scripts can rely on, and one line that says why.

use std::fmt::Display;
use std::process::ExitCode;

use mcp_registry_gateway::Error;
use mcp_registry_gateway::config::Problems;

/// Shown under `--help`.
pub(crate) const HELP: &str = "Exit codes:
  0    done
  1    failed: what was asked for could not be done, or a check found something wrong
  2    usage: the command line or the configuration is wrong; nothing was begun
  3    no gateway answers at the URL
  130  interrupted by a second signal while stopping

Every key of mcp-gateway.toml is also MREG_SECTION__KEY in the environment, or in a file `.env` of the working directory, which the
environment overrides. NO_COLOR is honoured.";

const FAILED: u8 = 1;
const USAGE: u8 = 2;
const UNREACHABLE: u8 = 3;
const INTERRUPTED: u8 = 130;

/// Why the program ends with a code other than 0.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self { code: FAILED, message: message.into() }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { code: USAGE, message: message.into() }
    }

    pub(crate) fn unreachable(message: impl Into<String>) -> Self {
        Self { code: UNREACHABLE, message: message.into() }
    }

    pub(crate) fn interrupted() -> Self {
        Self { code: INTERRUPTED, message: "interrupted; calls under way were cut".into() }
    }

    /// A failure that was told already, as part of the printed output.
    pub(crate) const fn silent() -> Self {
        Self { code: FAILED, message: String::new() }
    }

    pub(crate) const fn is_unreachable(&self) -> bool {
        self.code == UNREACHABLE
    }

    /// Reports the failure on standard error.
    pub(crate) fn report(self) -> ExitCode {
        if !self.message.is_empty() {
            eprintln!("mcp-gateway: {}", self.message);
        }
        ExitCode::from(self.code)
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::failed(error.to_string())
    }
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Self {
        Self::usage(problems.to_string())
    }
}
