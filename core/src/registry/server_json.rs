//! A registration made of a `server.json`, the form in which the official registry describes servers.
//!
//! Of the connections that the file offers one is taken: a remote that speaks a transport of ours, or a package that a well-known
//! runner starts. The package's exact version becomes part of the command, so that the program of tomorrow is the one that was
//! looked at today. Everything that the file demands and the user did not give is reported at once.
//! The form: <https://github.com/modelcontextprotocol/registry>, `docs/reference/server-json`.

mod form;
mod values;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use self::form::{File, Package, Remote};
use self::values::Values;
use super::fields::Problems;
use super::import::mapped;
use super::pins::is_exact;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Configuration, Registration, TransportType, redact};

/// A `server.json`, and the values that its author could not know.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ServerJson {
    /// The file: an object with `name`, `version`, and `packages` or `remotes`.
    #[cfg_attr(feature = "server", schema(value_type = Object))]
    pub server_json: Box<RawValue>,
    /// Its name here; the part behind the `/` of the file's name, unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The service that it is a replica of; its own name, unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Which of the ways that the file offers: `remote`, or the `registryType` of a package (`npm`, `pypi`, `oci`, `nuget`).
    /// The first that can be used, remotes before packages, unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
    /// Values of environment variables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Values of headers of a remote.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Values of arguments, by name or `valueHint`, and of `{variables}` in URLs and values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, String>,
    /// For search and filters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}

/// The registration that a `server.json` comes to.
///
/// Errors: [`ErrorKind::InvalidParams`], with a problem for each value that is missing, and for a version that is not exact.
pub fn server_json(asked: ServerJson) -> Result<Registration> {
    let bad = |message: String| Error::new(ErrorKind::InvalidParams, message).with("field", "server_json");
    let file: File = serde_json::from_str(asked.server_json.get()).map_err(|error| {
        let what = redact::without_value(&error.to_string());
        bad(format!("this is not a server.json: {what}"))
    })?;
    let own = file.name.rsplit('/').next().unwrap_or_default();
    let name = match asked.name {
        Some(name) => name,
        None => mapped(own).ok_or_else(|| {
            bad(format!("{:?} has no name that a server could have here; give `name`", file.name))
        })?,
    };
    let mut problems = Problems::default();
    let mut registration = Registration {
        name,
        service: asked.service,
        version: Some(file.version.clone()),
        display_name: file.title.clone(),
        description: file.description.clone(),
        tags: asked.tags,
        ..Registration::default()
    };
    let values = Values { env: asked.env, headers: asked.headers, variables: asked.variables };
    match way(&file, asked.package.as_deref())? {
        LaunchPlan::Remote(remote, transport) => {
            from_remote(remote, transport, &values, &mut registration, &mut problems);
        }
        LaunchPlan::Package(package, runner) => {
            from_package(package, runner, &values, &mut registration, &mut problems);
        }
    }
    problems.finish("server.json", registration)
}

/// How the server is reached.
enum LaunchPlan<'a> {
    Remote(&'a Remote, TransportType),
    Package(&'a Package, Runner),
}

/// The program that starts a package.
#[derive(Clone, Copy)]
enum Runner {
    Npx,
    Uvx,
    Docker,
    Dnx,
}

impl Runner {
    fn of(package: &Package) -> Option<Self> {
        let runner = match package.registry_type.as_str() {
            "npm" => Self::Npx,
            "pypi" => Self::Uvx,
            "oci" => Self::Docker,
            "nuget" => Self::Dnx,
            _ => return None,
        };
        // The file may name a runner; another than the usual one is a program that nobody here chose.
        let usual = package.runtime_hint.as_deref().is_none_or(|hint| hint == runner.command());
        (usual && package.transport.kind == "stdio").then_some(runner)
    }

    const fn command(self) -> &'static str {
        match self {
            Self::Npx => "npx",
            Self::Uvx => "uvx",
            Self::Docker => "docker",
            Self::Dnx => "dnx",
        }
    }
}

fn way<'a>(file: &'a File, wish: Option<&str>) -> Result<LaunchPlan<'a>> {
    let remote = |remote: &'a Remote| {
        let transport = match remote.kind.as_str() {
            "streamable-http" | "http" => TransportType::Http,
            "sse" => TransportType::Sse,
            _ => return None,
        };
        Some(LaunchPlan::Remote(remote, transport))
    };
    let package = |package: &'a Package| Some(LaunchPlan::Package(package, Runner::of(package)?));
    let remotes = file.remotes.iter().filter(|_| wish.is_none_or(|wish| wish == "remote")).filter_map(remote);
    let packages = file.packages.iter().filter(|p| wish.is_none_or(|wish| wish == p.registry_type));
    remotes.chain(packages.filter_map(package)).next().ok_or_else(|| {
        let there: Vec<_> = file
            .remotes
            .iter()
            .map(|remote| format!("remote ({})", remote.kind))
            .chain(file.packages.iter().map(|p| format!("{} ({})", p.registry_type, p.transport.kind)))
            .collect();
        let message = "it offers no way that can be used: a remote over streamable-http or sse, or a package of npm, pypi, \
            oci or nuget over stdio with its usual runner (npx, uvx, docker, dnx)";
        let error = Error::new(ErrorKind::InvalidParams, message).with("field", "server_json");
        error.with("offered", if there.is_empty() { "nothing".to_owned() } else { there.join(", ") })
    })
}

fn from_remote(
    remote: &Remote,
    transport: TransportType,
    values: &Values,
    registration: &mut Registration,
    problems: &mut Problems,
) {
    registration.transport_type = Some(transport);
    registration.endpoint_url = values.filled("variables", &remote.url, &remote.variables, problems);
    let mut headers = values.headers.clone();
    // Names of headers have no case: a header that the file declares is written in the file's case.
    headers.retain(|name, _| !remote.headers.iter().any(|header| header.name.eq_ignore_ascii_case(name)));
    for header in &remote.headers {
        if let Some(value) = values.header(header, problems) {
            headers.insert(header.name.clone(), value);
        }
    }
    if !headers.is_empty() {
        registration.configuration = Some(Configuration { headers, ..Configuration::default() });
    }
}

fn from_package(
    package: &Package,
    runner: Runner,
    values: &Values,
    registration: &mut Registration,
    problems: &mut Problems,
) {
    let mut env = values.env.clone();
    for variable in &package.environment_variables {
        if let Some(value) = values.variable(variable, problems) {
            env.insert(variable.name.clone(), value);
        }
    }
    let runtime = values.arguments(&package.runtime_arguments, problems);
    let own = values.arguments(&package.arguments, problems);
    let what = pinned(package, runner, problems);
    let mut args = Vec::new();
    match runner {
        Runner::Npx => {
            args.push("-y".to_owned());
            args.extend(runtime.into_iter().filter(|arg| arg != "-y" && arg != "--yes"));
            args.push(what);
        }
        Runner::Uvx => {
            args.extend(runtime);
            args.push(what);
        }
        Runner::Docker => {
            args.extend(["run", "-i", "--rm"].map(str::to_owned));
            // Without a value docker takes the variable from its own environment, and none is seen on its command line.
            args.extend(env.keys().flat_map(|name| ["-e".to_owned(), name.clone()]));
            args.extend(runtime.into_iter().filter(|arg| !matches!(arg.as_str(), "run" | "-i" | "--rm")));
            args.push(what);
        }
        Runner::Dnx => {
            args.push(what);
            args.push("--yes".to_owned());
            args.extend(runtime);
        }
    }
    args.extend(own);
    registration.command = Some(runner.command().to_owned());
    registration.args = args;
    registration.env = env;
    registration.transport_type = Some(TransportType::Stdio);
}

/// The package with its version, as the runner wants to be told.
fn pinned(package: &Package, runner: Runner, problems: &mut Problems) -> String {
    let what = &package.identifier;
    let begins = what.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '@');
    if !begins || what.contains(|c: char| c.is_whitespace() || c.is_control()) {
        problems.add("identifier", format!("{what:?} is not the name of a package"));
    }
    let version = package.version.as_deref().unwrap_or("");
    if matches!(runner, Runner::Docker) {
        let image =
            if version.is_empty() || what.contains('@') { what.clone() } else { format!("{what}:{version}") };
        if !super::pins::is_pinned_image(&image) {
            problems.add("version", format!("`{image}` can be another image tomorrow: name a tag other than `latest`, or better a digest (`@sha256:…`)"));
        }
        return image;
    }
    if !is_exact(version) {
        let said = if version.is_empty() {
            "has no version".to_owned()
        } else {
            format!("has the version `{version}`")
        };
        problems.add(
            "version",
            format!(
                "`{what}` {said}, which can be another program tomorrow: name an exact one, such as 1.2.3"
            ),
        );
    }
    format!("{what}@{version}")
}

#[cfg(test)]
mod tests;
