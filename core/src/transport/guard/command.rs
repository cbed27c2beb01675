//! `[stdio]`: which programs may be started for servers that the operator's own configuration does not name.
//!
//! A user who chooses a command, its arguments, its environment or its folder runs any code with the rights of the gateway. So a
//! shared gateway starts only the programs that this section lists: a program by its whole path, with the arguments that its
//! entry describes, in a folder of `folders`, with variables of `env`. There is no shell in between, so nothing in an argument is
//! taken apart.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::program::Program;
use super::refusal::Refusal;
use crate::error::{Error, ErrorKind};

/// Programs that may be started for servers that others than the operator register.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Stdio {
    /// Programs that may be started for servers that this configuration does not name: `[{ command = "/usr/bin/npx", args =
    /// ["-y", "@acme/*"] }]`. `*` stands for a part of a name, without `@ : / \ =`, blanks and `..`; `"**"` at the end for any
    /// further arguments. For a program that runs packages, such as `npx`, `uvx` or `docker run`, `args` name the package.
    #[cfg_attr(feature = "server", schema(value_type = Vec<Object>))]
    pub allow: Vec<Program>,
    /// Environment variables that such a registration may set.
    #[cfg_attr(feature = "server", schema(value_type = Vec<String>))]
    pub env: Vec<Variable>,
    /// Folders in which, or below which, such a program may be started, symbolic links followed.
    #[cfg_attr(feature = "server", schema(value_type = Vec<String>))]
    pub folders: Vec<Folder>,
}

/// The name of a variable that affects only the program itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Variable(String);

/// A folder by its whole path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Folder(PathBuf);

/// Variables that have other code loaded, or another program run.
const LOADERS: [&str; 31] = [
    "BASH_ENV",
    "CDPATH",
    "CLASSPATH",
    "COMSPEC",
    "EDITOR",
    "ENV",
    "GCONV_PATH",
    "GLOBIGNORE",
    "HOME",
    "IFS",
    "JAVA_TOOL_OPTIONS",
    "JDK_JAVA_OPTIONS",
    "LOCALDOMAIN",
    "NODE_EXTRA_CA_CERTS",
    "NODE_OPTIONS",
    "NODE_PATH",
    "NODE_TLS_REJECT_UNAUTHORIZED",
    "OPENSSL_CONF",
    "PAGER",
    "PATH",
    "PATHEXT",
    "PROMPT_COMMAND",
    "PS4",
    "RES_OPTIONS",
    "SHELL",
    "SHELLOPTS",
    "SSLKEYLOGFILE",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "VISUAL",
    "_JAVA_OPTIONS",
];

/// Beginnings of the names of such variables.
const LOADER_FAMILIES: [&str; 24] = [
    "BASH_FUNC_",
    "BUN_",
    "CONTAINERS_",
    "CONTAINER_",
    "COREPACK_",
    "DENO_",
    "DOCKER_",
    "DOTNET_",
    "DYLD_",
    "GIT_",
    "LD_",
    "LUA_",
    "MALLOC_",
    "NPM_CONFIG_",
    "NUGET_",
    "PERL5",
    "PIPX_",
    "PIP_",
    "PNPM_",
    "PYTHON",
    "RUBY",
    "UV_",
    "XDG_",
    "YARN_",
];

impl Stdio {
    /// Refuses a command that is not listed.
    pub(super) fn judge(
        &self,
        command: &str,
        args: &[String],
        env: &BTreeMap<String, String>,
        cwd: Option<&str>,
    ) -> Result<(), Refusal> {
        let mut named = self.allow.iter().filter(|program| program.is(command)).peekable();
        if named.peek().is_none() {
            return Err(Refusal::Program(command.to_owned()));
        }
        if !named.any(|program| program.takes(args)) {
            return Err(Refusal::Arguments(command.to_owned()));
        }
        if let Some(name) = env.keys().find(|name| !self.env.iter().any(|allowed| allowed.0 == **name)) {
            return Err(Refusal::Variable { name: name.clone(), never: loads(name) });
        }
        match cwd {
            Some(cwd) if !self.folders.iter().any(|folder| folder.has(Path::new(cwd))) => {
                Err(Refusal::Folder(cwd.to_owned()))
            }
            _ => Ok(()),
        }
    }
}

impl Folder {
    /// Whether `path` is this folder or stands in it: as it is written, since one with `..` in it might lead out again, and as
    /// symbolic links lead. A path that does not exist leads nowhere; it is checked again before anything is started in it.
    fn has(&self, path: &Path) -> bool {
        self.has_written(path)
            && match path.canonicalize() {
                Ok(real) => self.is_above(&real),
                Err(error) => error.kind() == std::io::ErrorKind::NotFound,
            }
    }

    /// Whether something stands at `path`, in this folder: as it is written and as symbolic links lead.
    pub(super) fn holds(&self, path: &Path) -> bool {
        self.has_written(path) && path.canonicalize().is_ok_and(|real| self.is_above(&real))
    }

    fn has_written(&self, path: &Path) -> bool {
        path.is_absolute() && is_plain(path) && path.starts_with(&self.0)
    }

    fn is_above(&self, real: &Path) -> bool {
        self.0.canonicalize().is_ok_and(|own| real.starts_with(own))
    }
}

pub(super) fn is_plain(path: &Path) -> bool {
    path.components().all(|part| !matches!(part, Component::ParentDir | Component::CurDir))
}

/// Whether a variable of this name has other code loaded. Case is no matter to some systems.
fn loads(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    LOADERS.contains(&name.as_str()) || LOADER_FAMILIES.iter().any(|family| name.starts_with(family))
}

impl TryFrom<String> for Variable {
    type Error = Error;

    fn try_from(name: String) -> Result<Self, Error> {
        let named = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
        if name.is_empty() || !name.bytes().all(named) {
            return Err(wrong("expected the name of a variable", &name));
        }
        if loads(&name) {
            return Err(wrong(
                "this variable decides which code runs, so that no registration may set it",
                &name,
            ));
        }
        Ok(Self(name))
    }
}

impl TryFrom<String> for Folder {
    type Error = Error;

    fn try_from(path: String) -> Result<Self, Error> {
        let folder = PathBuf::from(&path);
        if !folder.is_absolute() || !is_plain(&folder) {
            return Err(wrong("expected the whole path of a folder, without `..`", &path));
        }
        Ok(Self(folder))
    }
}

impl From<Variable> for String {
    fn from(Variable(name): Variable) -> Self {
        name
    }
}

impl From<Folder> for String {
    fn from(Folder(path): Folder) -> Self {
        path.display().to_string()
    }
}

pub(super) fn wrong(message: &'static str, found: &str) -> Error {
    Error::new(ErrorKind::InvalidParams, message).with("found", found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Stdio {
        toml::from_str(
            r#"
            allow = [
                { command = "/usr/bin/files" },
                { command = "/usr/bin/npx", args = ["-y", "@acme/*", "--root=*/data"] },
                { command = "/usr/bin/uvx", args = ["acme-*", "**"] },
                { command = "/usr/bin/any", args = ["serve", "**"] },
            ]
            env = ["API_KEY"]
            folders = ["/srv/mcp"]
            "#,
        )
        .unwrap()
    }

    fn judge(command: &str, args: &[&str], env: &[&str], cwd: Option<&str>) -> Result<(), Refusal> {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let env = env.iter().map(|name| ((*name).to_owned(), "x".to_owned())).collect();
        rules().judge(command, &args, &env, cwd)
    }

    /// A-23: only listed programs start, with the arguments, variables and folders that are listed for them.
    #[test]
    fn only_what_is_listed_is_started() {
        for (command, args) in [
            ("/usr/bin/files", &[][..]),
            ("/usr/bin/npx", &["-y", "@acme/a", "--root=x/data"]),
            ("/usr/bin/uvx", &["acme-a", "--port", "80", "-p", "x y"]),
            ("/usr/bin/any", &["serve"]),
            ("/usr/bin/any", &["serve", "x", "--y"]),
        ] {
            assert!(judge(command, args, &["API_KEY"], Some("/srv/mcp/a")).is_ok(), "{command} {args:?}");
        }
        for (command, args) in [
            ("files", &[][..]),
            ("/usr/bin/../bin/files", &[]),
            ("/usr/bin/files ", &[]),
            ("/bin/sh", &["-c", "id"]),
            ("/usr/bin/files", &["--exec=id"]),
            ("/usr/bin/npx", &["-y", "evil", "--root=x/data"]),
            ("/usr/bin/npx", &["-y", "@acme/a", "--root=x/data", "--more"]),
            ("/usr/bin/npx", &["-y", "@acme/a", "--root=/etc/data"]),
            ("/usr/bin/npx", &["-y", "@acme/a", "--root=../data"]),
            ("/usr/bin/npx", &["-y", "@acme/a"]),
            ("/usr/bin/any", &["other"]),
            ("/usr/bin/any", &[]),
        ] {
            assert!(judge(command, args, &[], None).is_err(), "{command} {args:?}");
        }
        for name in ["LD_PRELOAD", "NODE_OPTIONS", "PATH", "path", "HOME", "OTHER", "api_key"] {
            assert!(judge("/usr/bin/files", &[], &[name], None).is_err(), "{name}");
        }
        for cwd in ["/", "/srv", "/srv/mcp2", "/srv/mcp/../../etc", "srv/mcp", ""] {
            assert!(judge("/usr/bin/files", &[], &[], Some(cwd)).is_err(), "{cwd}");
        }
    }

    /// A-23, X-01: a symbolic link leads out of no listed folder, and a folder that is itself reached by one is no less listed.
    #[cfg(unix)]
    #[test]
    fn a_listed_folder_is_not_left_through_a_link() {
        use std::os::unix::fs::symlink;
        let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (listed, alias) = (inside.path().join("listed"), inside.path().join("alias"));
        std::fs::create_dir_all(listed.join("own")).unwrap();
        symlink(&listed, &alias).unwrap();
        symlink(outside.path(), listed.join("out")).unwrap();
        symlink(listed.join("own"), listed.join("in")).unwrap();
        symlink(outside.path().join("later"), listed.join("dangling")).unwrap();
        for folder in [&listed, &alias] {
            let list = Folder(folder.clone());
            assert!(["", "own", "in"].into_iter().all(|name| list.has(&folder.join(name))));
            assert!(!list.has(&folder.join("out")) && !list.has(&folder.join("out/deeper/..")));
            assert!(list.has(&folder.join("none")) && !list.holds(&folder.join("none")), "it leads nowhere");
            assert!(list.holds(&folder.join("own")) && !list.holds(&folder.join("out")));
        }
        assert!(Folder(listed.clone()).has(&listed.join("dangling")));
        std::fs::create_dir(outside.path().join("later")).unwrap();
        assert!(!Folder(listed.clone()).has(&listed.join("dangling")), "it leads out by now");
    }

    /// A-23: a list that would let everything through is refused when it is read.
    #[test]
    fn a_list_cannot_hold_what_runs_anything() {
        for text in [
            r#"allow = [{ command = "sh" }]"#,
            r#"allow = [{ command = "/bin/sh" }]"#,
            r#"allow = [{ command = "/usr/bin/env", args = ["**"] }]"#,
            r#"allow = [{ command = "/opt/../bin/sh" }]"#,
            r#"allow = [{ command = "/opt/x", user = "root" }]"#,
            r#"env = ["LD_PRELOAD"]"#,
            r#"env = ["Node_Options"]"#,
            r#"env = ["PATH"]"#,
            r#"env = ["PYTHONSTARTUP"]"#,
            r#"env = ["A=B"]"#,
            r#"folders = ["srv"]"#,
            r#"folders = ["/srv/.."]"#,
        ] {
            assert!(toml::from_str::<Stdio>(text).is_err(), "{text}");
        }
    }
}
