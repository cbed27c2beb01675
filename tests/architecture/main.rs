//! Holds the shape that DESIGN and `core/ARCHITECTURE.md` describe: the order of modules, the size of files, what a
//! build without features links, the top level of the repository. Each check is first shown able to fail.
#![expect(clippy::expect_used, reason = "a panic in a test is a failed test")]

mod bindings;
mod eras;
mod error_facts;
mod exports;
mod functions;
mod order;
mod pages;
mod public;
mod seams;
mod settings;
mod source;
mod words;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use source::Source;

/// Lines of code that a file may have, tests not counted.
const LINES: usize = 400;

/// The names at the top level that must be there.
const REQUIRED: [&str; 10] = [
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "SECURITY.md",
    "core",
    "tests",
];

/// The names at the top level that come with a part that may not be built yet.
const OPTIONAL: [&str; 4] = ["bindings-node", "bindings-python", "examples", "ffi"];

/// What a build without features must not link.
const HEAVY: [&str; 4] = ["axum", "hyper", "redis", "sqlx"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

/// Every Rust source below `folder`, build output left out.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![folder.to_owned()];
    while let Some(folder) = left.pop() {
        for entry in std::fs::read_dir(&folder).expect("a readable folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_dir() && !["target", "node_modules"].contains(&name) && !name.starts_with('.') {
                left.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The sources of the core library and what each says, without those that are compiled for tests alone.
fn library() -> Vec<(PathBuf, Source)> {
    let folder = root().join("core/src");
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).expect("a readable file");
        let source = Source::parse(&text).unwrap_or_else(|| panic_at(&path));
        (path.strip_prefix(&folder).expect("below core/src").to_owned(), source)
    };
    let all: Vec<_> = sources(&folder).into_iter().map(read).collect();
    let tests: BTreeSet<PathBuf> = all.iter().flat_map(|(path, source)| source.test_files(path)).collect();
    all.into_iter().filter(|(path, _)| !tests.iter().any(|test| path.starts_with(test))).collect()
}

#[expect(clippy::panic, reason = "a file that is not Rust is a failed test")]
fn panic_at(path: &Path) -> ! {
    panic!("{} is not Rust", path.display())
}

fn heavy(tree: &str) -> Vec<&str> {
    let names = tree.lines().filter_map(|line| line.split_whitespace().next());
    names
        .filter(|name| HEAVY.iter().any(|heavy| name == heavy || name.starts_with(&format!("{heavy}-"))))
        .collect()
}

/// What is wrong with the `names` of a top level.
fn misplaced(names: &BTreeSet<String>) -> Vec<String> {
    let known = |name: &str| REQUIRED.contains(&name) || OPTIONAL.contains(&name) || name.starts_with('.');
    let surplus = names.iter().filter(|name| !known(name)).map(|name| format!("{name} does not belong"));
    let absent =
        REQUIRED.iter().filter(|name| !names.contains(**name)).map(|name| format!("{name} is missing"));
    surplus.chain(absent).collect()
}

/// The names at the top level: what git knows or would add, or all there is where git is not at hand.
fn top_level() -> BTreeSet<String> {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output();
    if let Some(output) = listed.ok().filter(|output| output.status.success()) {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let tops = text.split('\0').filter_map(|path| path.split('/').next());
        return tops
            .filter(|name| root().join(name).exists() && !name.is_empty())
            .map(str::to_owned)
            .collect();
    }
    let entries = std::fs::read_dir(root()).expect("a readable folder");
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter(|name| name != "target").collect()
}

#[test]
fn no_module_uses_one_that_stands_below_it() {
    let lib = std::fs::read_to_string(root().join("core/src/lib.rs")).expect("lib.rs");
    let order = order::Order::read(&Source::parse(&lib).expect("lib.rs is Rust"));
    assert!(order.len() > 10, "the modules of lib.rs were not found");
    let wrong: Vec<String> =
        library().iter().flat_map(|(path, source)| order.arrows_upwards(path, source)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The files of the library below `folder`, by their paths below it.
fn below<'a>(library: &'a [(PathBuf, Source)], folder: &str) -> Vec<(&'a Path, &'a Source)> {
    library.iter().filter_map(|(path, source)| Some((path.strip_prefix(folder).ok()?, source))).collect()
}

#[test]
fn no_room_of_the_gateway_uses_one_that_stands_below_it() {
    let module = std::fs::read_to_string(root().join("core/src/gateway/mod.rs")).expect("gateway/mod.rs");
    let order = order::Order::rooms("gateway", &Source::parse(&module).expect("gateway/mod.rs is Rust"));
    assert!(order.len() > 8, "the rooms of the gateway were not found");
    let library = library();
    let wrong: Vec<String> = below(&library, "gateway")
        .into_iter()
        .flat_map(|(path, source)| order.arrows_upwards(path, source))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Source files that a folder may hold, folders not counted.
const FILES: usize = 20;

#[test]
fn no_folder_has_more_files_than_a_reader_can_hold() {
    let mut folders: std::collections::BTreeMap<PathBuf, usize> = std::collections::BTreeMap::new();
    for path in sources(&root().join("core/src")) {
        *folders.entry(path.parent().expect("a folder").to_owned()).or_default() += 1;
    }
    let full: Vec<_> = folders.iter().filter(|(_, files)| **files > FILES).collect();
    assert!(full.is_empty(), "over {FILES} files: {full:?}");
    let gateway = folders.get(&root().join("core/src/gateway")).copied().unwrap_or_default();
    assert!((1..=6).contains(&gateway), "{gateway} files stand in gateway/ itself");
}

#[test]
fn no_source_file_has_more_lines_of_code_than_a_reader_can_hold() {
    let long = library().into_iter().filter(|(_, source)| source.lines() > LINES);
    let long: Vec<_> =
        long.map(|(path, source)| format!("{}: {} lines", path.display(), source.lines())).collect();
    assert!(long.is_empty(), "over {LINES} lines of code:\n{}", long.join("\n"));
}

#[test]
fn the_root_of_the_library_has_no_logic() {
    let lib = std::fs::read_to_string(root().join("core/src/lib.rs")).expect("lib.rs");
    let found = order::logic(&Source::parse(&lib).expect("lib.rs is Rust"));
    assert!(found.is_empty(), "lib.rs has {found:?}");
}

#[test]
fn whatever_the_root_of_the_library_offers_is_shown_at_work_by_a_test_of_its_documentation() {
    let folder = root().join("core/src");
    let lib = std::fs::read_to_string(folder.join("lib.rs")).expect("lib.rs");
    let names = exports::names(&lib);
    assert!(names.len() > 15, "the names were not found: {names:?}");
    let all: Vec<_> = sources(&folder).into_iter().filter(|path| !path.ends_with("tests.rs")).collect();
    let shown = |path: &Vec<String>| {
        let (Some(module), Some(name)) = (path.first(), path.last()) else { return false };
        let own = |file: &&PathBuf| {
            let below = file.strip_prefix(&folder).ok()?.iter().next()?.to_str()?;
            Some(below.trim_end_matches(".rs") == module)
        };
        let files = all.iter().filter(|file| own(file) == Some(true));
        let mut texts = files.filter_map(|file| std::fs::read_to_string(file).ok());
        texts.any(|text| exports::shows(&text, name) == Some(true))
    };
    let silent: Vec<_> = names.iter().filter(|path| !shown(path)).collect();
    assert!(silent.is_empty(), "without an example that is compiled: {silent:?}");
}

#[test]
fn there_is_no_unsafe_code_in_the_library() {
    let found: Vec<_> = library().into_iter().filter(|(_, source)| order::names(source, "unsafe")).collect();
    assert!(found.is_empty(), "unsafe code in {:?}", found.iter().map(|(path, _)| path).collect::<Vec<_>>());
    assert!(order::names(&Source::parse("fn f() { unsafe { g() } }").expect("a snippet"), "unsafe"));
}

#[test]
fn lints_are_expected_with_a_reason_and_never_allowed() {
    let mut found = Vec::new();
    for path in sources(&root()) {
        let text = std::fs::read_to_string(&path).expect("a readable file");
        let source = Source::parse(&text).unwrap_or_else(|| panic_at(&path));
        found.extend(source.allowances().map(|line| format!("{}:{line}", path.display())));
    }
    assert!(found.is_empty(), "use #[expect(…, reason = …)]:\n{}", found.join("\n"));
}

#[test]
fn a_build_without_features_links_no_server_database_or_http() {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "-p", "mcp-registry-gateway", "--no-default-features"])
        .args(["-e", "normal", "--prefix", "none"])
        .current_dir(root())
        .output()
        .expect("cargo tree runs");
    let tree = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(tree.starts_with("mcp-registry-gateway"), "{tree}");
    assert!(heavy(&tree).is_empty(), "linked without features: {:?}", heavy(&tree));
}

#[test]
fn the_top_level_is_what_the_design_says() {
    let wrong = misplaced(&top_level());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_check_of_the_top_level_can_fail() {
    let mut names: BTreeSet<String> = REQUIRED.iter().map(ToString::to_string).collect();
    names.extend([".ci".to_owned(), "ffi".to_owned()]);
    assert!(misplaced(&names).is_empty());
    names.insert("scripts".to_owned());
    names.remove("README.md");
    assert_eq!(misplaced(&names), ["scripts does not belong", "README.md is missing"]);
}

#[test]
fn the_check_of_what_is_linked_can_fail() {
    assert!(heavy("mcp-registry-gateway v0.1.0\nhashring v0.3.6\nhyperloglog v1.0.0 (*)").is_empty());
    assert_eq!(heavy("tokio v1.0.0\nhyper v1.0.0\nsqlx-core v0.9.0 (*)"), ["hyper", "sqlx-core"]);
}

#[test]
fn the_reference_names_every_setting() {
    let page = std::fs::read_to_string(root().join("core/docs/reference/settings.md")).expect("settings.md");
    assert_eq!(settings::missing(&page), [""; 0]);
    let without = page.replace("| `configuration.max_load` |", "| `configuration.max_lood` |");
    let without = without.replace("| `server.legacy` |", "| |");
    assert_eq!(
        settings::missing(&without),
        ["server.legacy", "configuration.max_load"],
        "the check sees what is missing"
    );
}

/// The documents: at the top level, of the core, and below `core/docs`.
fn documents() -> Vec<PathBuf> {
    let mut found = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "core/ARCHITECTURE.md"]
        .map(|name| root().join(name))
        .to_vec();
    let mut left = vec![root().join("core/docs")];
    while let Some(folder) = left.pop() {
        for entry in std::fs::read_dir(&folder).expect("a readable folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                left.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).expect("a readable file")
}

#[test]
fn links_lead_somewhere_and_files_that_documents_name_exist() {
    let documents = documents();
    assert!(documents.len() > 20, "the documents were not found");
    let lost: Vec<_> =
        documents.iter().flat_map(|path| pages::dangling(&root(), path, &text(path))).collect();
    assert!(lost.is_empty(), "named and not there:\n{}", lost.join("\n"));
}

/// The documents whose Rust is compiled: `core/src/guide.rs` includes them.
const COMPILED: [&str; 2] = ["README.md", "embed-rust.md"];

#[test]
fn every_block_of_the_readme_and_the_guide_is_run_by_a_test() {
    let guide = root().join("core/docs/guide");
    let operations = root().join("core/docs/operations");
    let mut wrong = Vec::new();
    for path in documents() {
        if !(path == root().join("README.md") || path.starts_with(&guide) || path.starts_with(&operations)) {
            continue;
        }
        let compiled = COMPILED.iter().any(|name| path.ends_with(name));
        let faults =
            pages::blocks(&text(&path)).into_iter().filter_map(|block| pages::fault(&block, compiled));
        wrong.extend(faults.map(|fault| format!("{}: {fault}", path.display())));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_readme_is_short() {
    let bytes = text(&root().join("README.md")).len();
    assert!(
        bytes <= 8192,
        "README.md has {bytes} bytes; it sells and starts, all else belongs into core/docs"
    );
}

#[test]
fn every_public_item_is_in_the_reference() {
    let (path, made) = (root().join("core/docs/reference/rust-api.md"), public::page(&library()));
    if std::env::var_os("WRITE_PAGES").is_some() {
        std::fs::write(&path, &made).expect("a folder that can be written to");
    }
    let found = text(&path);
    let known: BTreeSet<&str> = found.lines().collect();
    let new: Vec<&str> = made.lines().filter(|line| !known.contains(line)).collect();
    assert!(
        found == made,
        "core/docs/reference/rust-api.md is not current; if these items are meant to be public, \
         `WRITE_PAGES=1 cargo test -p mcp-registry-gateway-tests --test architecture public` lists them:\n{}",
        new.join("\n")
    );
}

/// The bindings whose methods are looked at. What brings outcomes to the other language's threads is not a method of the gateway's.
const BINDINGS: [&str; 3] = ["bindings-node/src", "bindings-python/src", "ffi/src"];
const BRIDGES: [&str; 1] = ["queue.rs"];

#[test]
fn no_method_of_a_binding_has_a_default_a_retry_or_a_parse() {
    for binding in BINDINGS {
        let files = sources(&root().join(binding)).into_iter();
        let files = files.filter(|path| !BRIDGES.iter().any(|bridge| path.ends_with(bridge)));
        let read = |path: PathBuf| {
            let text = std::fs::read_to_string(&path).expect("a readable file");
            bindings::methods(&Source::parse(&text).unwrap_or_else(|| panic_at(&path)))
        };
        let methods: Vec<_> = files.flat_map(read).collect();
        assert!(methods.len() > 5, "the methods of {binding} were not found");
        assert_eq!(bindings::thick(binding, &methods), [""; 0]);
    }
}

/// How each face writes a verb. For programs `offered` is what `list_tools` and `list_resources` tell.
const FACES: [(&str, &str); 3] = [
    ("bindings-node/lib/gateway.js", "('*', "),
    ("bindings-python/python/mcp_registry_gateway/_verbs.py", "(\"*\", "),
    ("ffi/src/gateway.rs", "    *;\n"),
];

#[test]
fn every_verb_of_the_core_has_its_line_in_every_face() {
    let read = |path: &str| std::fs::read_to_string(root().join(path)).expect("a readable file");
    let own = ["core/src/facade/verbs.rs", "core/src/facade/governing.rs"].map(read);
    let mut verbs = bindings::verbs(&own.each_ref().map(String::as_str), &read("core/src/facade/mcp.rs"));
    verbs.retain(|verb| verb != "offered");
    assert!(
        verbs.len() > 42 && ["register", "audit"].iter().all(|verb| verbs.iter().any(|own| own == verb)),
        "the verbs were not found: {verbs:?}"
    );
    for (face, form) in FACES {
        assert_eq!(bindings::astray(&verbs, &read(face), form), [""; 0], "verbs that {face} does not have");
    }
}
