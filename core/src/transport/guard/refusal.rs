//! Why something may not be connected to or started, and the setting that would allow it.

use super::class::Class;
use crate::error::{Error, ErrorKind};

/// The rule that refuses.
#[derive(Debug)]
pub(super) enum Refusal {
    Scheme(String),
    UserInfo,
    NoHost,
    Port(u16),
    Metadata { host: String },
    Class { class: Class, host: String, resolved: bool },
    Program(String),
    Arguments(String),
    Variable { name: String, never: bool },
    Folder(String),
}

impl Refusal {
    /// The error, which names the rule and the setting that would allow it, if there is one.
    pub(super) fn into_error(self, kind: ErrorKind) -> Error {
        let error = |rule: &'static str, message: String| Error::new(kind, message).with("rule", rule);
        match self {
            Self::Scheme(scheme) => {
                let message = "only http, https, ws and wss are connected to";
                error("scheme", message.to_owned()).with("scheme", scheme)
            }
            Self::UserInfo => {
                let message =
                    "a URL must not carry a user or a password; put credentials where they are kept as such";
                error("credentials", message.to_owned())
            }
            Self::NoHost => error("host", "the URL names no host".to_owned()),
            Self::Port(port) => {
                let message = format!(
                    "port {port} belongs to another kind of service; `[outbound] ports = [{port}]` in the gateway's \
                     configuration would allow it"
                );
                error("port", message)
            }
            Self::Metadata { host } => {
                let message = "this address hands out credentials of the machine to whoever asks, so it is never connected to";
                error(Class::Metadata.as_str(), message.to_owned()).with("host", host)
            }
            Self::Program(command) => {
                let message = format!(
                    "a shared gateway starts only programs that its own configuration names; an entry in `[stdio] allow` with \
                     `command = {command:?}` and the arguments in `args` would allow this one, if it is a whole path and no shell"
                );
                error("command", message)
            }
            Self::Arguments(command) => {
                let message = format!(
                    "the entry of {command:?} in `[stdio] allow` does not describe these arguments; its `args` would have to, \
                     where `*` stands for a part of a name without `@ : / \\ =`, blanks and `..`"
                );
                error("arguments", message)
            }
            Self::Variable { name, never: true } => {
                let message = "this variable decides which code runs, so that no registration may set it";
                error("variable", message.to_owned()).with("variable", name)
            }
            Self::Variable { name, never: false } => {
                let message = format!(
                    "a registration may set only listed variables; `[stdio] env = [{name:?}]` would allow this one"
                );
                error("variable", message)
            }
            Self::Folder(folder) => {
                let message = format!(
                    "programs are started only in listed folders; `[stdio] folders = [{folder:?}]` would allow this \
                     one, if it is a whole path"
                );
                error("folder", message)
            }
            Self::Class { class, host, resolved } => {
                let leads = if resolved { "the name leads to" } else { "this is" };
                let message = format!(
                    "{leads} a {class} address, which a shared gateway does not connect to; `[outbound] allow = \
                     [\"{host}\"]` in its configuration would allow it"
                );
                error(class.as_str(), message).with("host", host)
            }
        }
    }
}
