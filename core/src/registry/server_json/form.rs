//! The members of a `server.json` that matter here. Others are passed over: files carry metadata of many tools.

use std::collections::BTreeMap;

use serde::Deserialize;

#[derive(Debug, Deserialize)]
pub(super) struct File {
    pub(super) name: String,
    pub(super) title: Option<String>,
    pub(super) description: Option<String>,
    pub(super) version: String,
    #[serde(default)]
    pub(super) packages: Vec<Package>,
    #[serde(default)]
    pub(super) remotes: Vec<Remote>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Package {
    pub(super) registry_type: String,
    pub(super) identifier: String,
    pub(super) version: Option<String>,
    pub(super) runtime_hint: Option<String>,
    pub(super) transport: Transport,
    #[serde(default)]
    pub(super) runtime_arguments: Vec<Argument>,
    #[serde(default)]
    #[serde(rename = "packageArguments")]
    pub(super) arguments: Vec<Argument>,
    #[serde(default)]
    pub(super) environment_variables: Vec<Named>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Transport {
    #[serde(rename = "type")]
    pub(super) kind: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Remote {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) url: String,
    #[serde(default)]
    pub(super) headers: Vec<Named>,
    #[serde(default)]
    pub(super) variables: BTreeMap<String, Input>,
}

/// Something that takes a value.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    pub(super) description: Option<String>,
    #[serde(default)]
    pub(super) is_required: bool,
    pub(super) value: Option<String>,
    pub(super) default: Option<String>,
    #[serde(default)]
    pub(super) choices: Vec<String>,
    /// The input that `{name}` in the value stands for.
    #[serde(default)]
    pub(super) variables: BTreeMap<String, Input>,
}

/// An environment variable or a header.
#[derive(Debug, Deserialize)]
pub(super) struct Named {
    pub(super) name: String,
    #[serde(flatten)]
    pub(super) input: Input,
}

/// A word of a command line, or a flag and its word.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Argument {
    #[serde(rename = "type")]
    pub(super) kind: Kind,
    /// The flag, dashes included.
    pub(super) name: Option<String>,
    pub(super) value_hint: Option<String>,
    #[serde(flatten)]
    pub(super) input: Input,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Kind {
    Positional,
    Named,
}
