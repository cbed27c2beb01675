//! From the configuration to a gateway: where files live, which store, which settings.

use std::path::{Path, PathBuf};

use mcp_registry_gateway::builder::{Assembly, Keeping};
use mcp_registry_gateway::config::{self, Config, DOTENV_FILE, Dotenv, LogFormat, Sources};
use mcp_registry_gateway::gateway::Gateway;
use mcp_registry_gateway::model::Registration;
use mcp_registry_gateway::store::presence::Holder;
use mcp_registry_gateway::store::{DataLoss, StoreLocation};

use super::exit::Failure;
use super::reload::wanted;

/// Options of every command.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Common {
    /// The configuration; else mcp-gateway.toml here, or in the data directory
    #[arg(long, global = true, env = "MREG_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the database lives; else the platform's data directory
    #[arg(long, global = true, env = "MREG_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Log lines for people or for programs
    #[arg(long, global = true, value_name = "human|json")]
    log_format: Option<String>,
    /// The log level: error, warn, info, debug, trace, or directives
    #[arg(long, global = true, value_name = "LEVEL")]
    log_level: Option<String>,
}

impl Common {
    /// The sources of the configuration; `options` are the command's own.
    pub(crate) fn sources(
        &self,
        options: &[(&'static str, &'static str, Option<String>)],
    ) -> Result<Sources, Failure> {
        let dotenv = Self::dotenv()?;
        let file = self.config.clone().or_else(|| Some(dotenv.as_ref()?.get("MREG_CONFIG")?.into()));
        let mut sources = Sources::gather(file.as_deref(), self.data_dir().ok().as_deref(), dotenv)?;
        let own = [
            ("--log-format", "log.format", self.log_format.clone()),
            ("--log-level", "log.level", self.log_level.clone()),
        ];
        let given = own.iter().chain(options);
        sources.options =
            given.filter_map(|(option, key, value)| Some((*option, *key, value.clone()?))).collect();
        Ok(sources)
    }

    /// The configuration without options of a command's own.
    pub(crate) fn configuration(&self) -> Result<Config, Failure> {
        Ok(config::load(&self.sources(&[])?)?)
    }

    /// The `.env` of the working directory, if there is one.
    fn dotenv() -> Result<Option<Dotenv>, Failure> {
        Ok(Dotenv::read(Path::new(DOTENV_FILE))?)
    }

    /// A variable that says where to look, from the `.env` of the working directory; options and the environment come before it.
    pub(crate) fn dotenv_value(name: &str) -> Result<Option<String>, Failure> {
        Ok(Self::dotenv()?.and_then(|dotenv| dotenv.get(name).map(str::to_owned)))
    }

    /// The data directory.
    pub(crate) fn data_dir(&self) -> Result<PathBuf, Failure> {
        if let Some(folder) = &self.data_dir {
            return Ok(folder.clone());
        }
        let folder = Self::dotenv_value("MREG_DATA_DIR")?.map(PathBuf::from);
        folder.or_else(config::default_data_dir).ok_or_else(|| {
            Failure::usage("this user has no home directory; say with --data-dir where the database lives")
        })
    }

    /// The files that the configuration comes from, whether or not they are there.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let named = self.config.clone();
        let found = self.sources(&[]).ok().and_then(|sources| sources.file).map(|(path, _)| path);
        named.into_iter().chain(found).chain([PathBuf::from(DOTENV_FILE)]).collect()
    }

    /// The database's file.
    pub(crate) fn database(&self, config: &Config) -> Result<PathBuf, Failure> {
        match &config.store.path {
            Some(path) if path.is_absolute() => Ok(path.clone()),
            Some(path) => Ok(self.data_dir()?.join(path)),
            None => Ok(self.data_dir()?.join("gateway.db")),
        }
    }

    /// The location of the store.
    pub(crate) fn location(&self, config: &Config) -> Result<StoreLocation, Failure> {
        self.database(config).map(StoreLocation::File)
    }

    /// Opens the gateway on the database, to be served at `url` or, without one, for the time of a command. `own` are the
    /// servers of the command line; `loss` says what to do with a database that lacks what was acknowledged.
    pub(crate) async fn open(
        &self,
        config: &Config,
        url: Option<&str>,
        own: &[Registration],
        loss: DataLoss,
    ) -> Result<Gateway, Failure> {
        let location = self.location(config)?;
        let keeping = Keeping::At(&location, url.map_or(Holder::Command, Holder::Served));
        let trusted = &wanted(config, own)?;
        Ok(Assembly { keeping, trusted, loss, ..Assembly::of(config) }.open().await?)
    }

    /// Whether log lines are JSON, for messages before the configuration is read.
    pub(crate) fn json_logs(config: &Config) -> bool {
        config.log.format == LogFormat::Json
    }
}
