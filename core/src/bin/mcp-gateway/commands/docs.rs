//! `mcp-gateway docs`.

use std::path::PathBuf;

use crate::exit::Failure;
use crate::reference;
use crate::table::print;

/// Writes the pages of reference that are made from this program: settings, commands, routes, errors, metrics, permissions.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder to write to
    #[arg(long, value_name = "DIR", default_value = "core/docs/reference")]
    out: PathBuf,
    /// Write nothing; fail if a page in the folder differs
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    if !reference::IS_COMPLETE {
        let text = "this build lacks the feature `oauth`, so that its pages would lack routes; run";
        return Err(Failure::failed(format!("{text} `{}`", reference::COMMAND)));
    }
    let mut stale = Vec::new();
    for (name, page) in reference::pages() {
        let path = args.out.join(name);
        if std::fs::read_to_string(&path).is_ok_and(|found| found == page) {
            continue;
        }
        if !args.check {
            std::fs::create_dir_all(&args.out)
                .and_then(|()| std::fs::write(&path, page))
                .map_err(|error| Failure::failed(format!("{} cannot be written: {error}", path.display())))?;
        }
        stale.push(path.display().to_string());
    }
    match (args.check, stale.is_empty()) {
        (_, true) => print("every page is current"),
        (false, false) => print(&format!("written: {}", stale.join(", "))),
        (true, false) => {
            let text = format!("not current: {}; `{}` writes them", stale.join(", "), reference::COMMAND);
            Err(Failure::failed(text))
        }
    }
}
