//! The program's commands as a user types them, against a real gateway process.

#![expect(clippy::unwrap_used, reason = "a test fails where something is missing")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_mcp-gateway");

/// A gateway that serves, stopped when it is dropped.
struct Serving {
    child: Child,
    url: String,
    folder: TempDir,
}

impl Serving {
    /// Serves with these arguments besides a free port and a folder of its own, and waits until it says where.
    fn start(arguments: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), arguments)
    }

    /// The same with this folder.
    fn start_in(folder: TempDir, arguments: &[&str]) -> Self {
        let mut command = Command::new(PROGRAM);
        command.args(["serve", "--port", "0", "--data-dir"]).arg(folder.path()).args(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines
            .find_map(|line| line.unwrap().split_once("http://").map(|(_, rest)| rest.to_owned()))
            .unwrap();
        let url = format!("http://{}", line.trim_end().strip_suffix("/mcp").unwrap());
        // What is printed after this would fill the pipe if nobody read it.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, url, folder }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(PROGRAM);
        command.arg(arguments[0]).args(["--url", &self.url, "--data-dir"]).arg(self.folder.path());
        command.args(&arguments[1..]).output().unwrap()
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn ok(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    text(output)
}

/// The demo's stdio server, as a line for `--server` or a file for `import`.
fn notes() -> Vec<String> {
    [PROGRAM, "demo-server", "--name", "notes", "--stdio", "--offer", "notes"].map(str::to_owned).into()
}

fn import_file(folder: &Path, name: &str) -> String {
    let line = notes();
    let file = folder.join(format!("{name}.json"));
    let servers = json!({ "mcpServers": { (name): { "command": line[0], "args": line[1..] } } });
    std::fs::write(&file, servers.to_string()).unwrap();
    file.display().to_string()
}

#[test]
fn servers_of_the_command_line_and_of_a_file_are_served_listed_probed_and_called() {
    let files = tempfile::tempdir().unwrap();
    let line = format!("here={}", notes().join(" "));
    let mut serving =
        Serving::start(&["--server", &line, "--import", &import_file(files.path(), "imported")]);

    let listed: Value = serde_json::from_slice(&serving.run(&["list", "--json"]).stdout).unwrap();
    let names: Vec<_> = listed["servers"].as_array().unwrap().iter().map(|server| &server["name"]).collect();
    assert_eq!(names, ["here", "imported"]);
    assert!(ok(&serving.run(&["healthcheck"])).contains("healthy"));
    assert!(ok(&serving.run(&["healthcheck", "here"])).contains("healthy"));
    for service in ["here", "imported"] {
        ok(&serving.run(&["call", &format!("{service}__write"), r#"{"text":"milk"}"#]));
        assert!(ok(&serving.run(&["call", service, "read"])).contains("milk"), "{service}");
    }
    let unknown = serving.run(&["call", "here__nothing"]);
    assert_eq!(unknown.status.code(), Some(1), "{unknown:?}");

    let more = import_file(files.path(), "more");
    assert!(ok(&serving.run(&["import", &more])).contains("registered"));
    assert!(ok(&serving.run(&["import", &more])).contains("exists"));
    let again = serving.run(&["register", "more", "http://127.0.0.1:9/mcp"]);
    assert_eq!(again.status.code(), Some(1), "{again:?}");

    serving.signal("INT");
    assert_eq!(serving.child.wait().unwrap().code(), Some(0));
}

#[test]
fn commands_that_need_a_gateway_say_that_there_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(PROGRAM)
        .args(["call", "a__b", "--url", "http://127.0.0.1:9", "--data-dir"])
        .arg(folder.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(text(&output).contains("127.0.0.1:9"), "{output:?}");
}

#[test]
fn a_wrong_configuration_is_told_whole_and_nothing_starts_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mcp-gateway.toml");
    std::fs::write(&file, "[server]\nprot = 1\nmax_body_bytes = 1\n").unwrap();
    for command in ["validate", "serve"] {
        let output = Command::new(PROGRAM).arg(command).arg("--config").arg(&file).output().unwrap();
        assert!(!output.status.success(), "{command}");
        let told = text(&output);
        assert!(told.contains("server.prot") && told.contains("server.max_body_bytes"), "{command}: {told}");
    }
}

/// The program reads `.env` of its working directory, under its environment, and says which values come from there.
#[test]
fn a_dotenv_file_of_the_working_directory_is_read_under_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let dotenv = format!(
        "# for this folder\nMREG_SERVER__PORT=0\nMREG_DATA_DIR={}\nMREG_LOG=info\nMREG_POSTGRES_PASSWORD='hunter2'\nOTHER=1\n",
        data.display()
    );
    std::fs::write(folder.path().join(".env"), dotenv).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command.current_dir(folder.path()).env("MREG_LOG", "warn").args(arguments);
        command
    };
    let told = ok(&run(&["validate"]).output().unwrap());
    assert!(told.contains(".env gives MREG_SERVER__PORT\n"), "{told}");
    assert!(told.contains(".env has MREG_LOG, and the environment's value counts"), "{told}");
    assert!(told.contains("MREG_POSTGRES_PASSWORD is not used by this build"), "{told}");
    assert!(told.contains("chmod 600") && !told.contains("hunter2") && !told.contains("OTHER"), "{told}");
    let json: Value = serde_json::from_slice(&run(&["validate", "--json"]).output().unwrap().stdout).unwrap();
    assert_eq!(json["dotenv"]["overridden"], json!(["MREG_LOG"]), "{json}");

    let mut child = run(&["serve"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines.find_map(|line| line.unwrap().split_once("http://").map(|(_, rest)| rest.to_owned()));
    child.kill().unwrap();
    let log = String::from_utf8(child.wait_with_output().unwrap().stderr).unwrap();
    assert!(line.is_some_and(|line| !line.starts_with("127.0.0.1:8000/")), "{log}");
    assert!(data.join("gateway.db").is_file(), "{log}");
    assert!(log.contains("MREG_POSTGRES_PASSWORD is not used") && !log.contains("hunter2"), "{log}");

    std::fs::write(folder.path().join(".env"), "MREG_SERVER__PORT=0\nMREG_SERVER__PROT=1\n").unwrap();
    let refused = run(&["serve"]).output().unwrap();
    let told = text(&refused);
    assert!(refused.status.code() == Some(2) && told.contains(".env:2: MREG_SERVER__PROT"), "{told}");

    // A key of the environment is not led to a gateway that a folder names.
    std::fs::write(folder.path().join(".env"), "MREG_URL=http://127.0.0.1:9\n").unwrap();
    let refused = run(&["list"]).env("MREG_KEY", "hunter2").output().unwrap();
    let told = text(&refused);
    assert!(
        refused.status.code() == Some(2) && told.contains("the key is not sent to http://127.0.0.1:9"),
        "{told}"
    );
}

#[test]
fn a_database_is_made_and_kept_in_order_by_its_commands() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        Command::new(PROGRAM).args(arguments).arg("--data-dir").arg(folder.path()).output().unwrap()
    };
    ok(&run(&["init-db"]));
    assert!(folder.path().join("gateway.db").is_file());
    ok(&run(&["init-db"]));
    ok(&run(&["optimize-db", "--dry-run"]));
    ok(&run(&["optimize-db"]));
}

/// D-10: the program follows the chain of the trail, prints and exports it, and ends with 1 when it does not hold
#[test]
fn the_audit_trail_is_followed_shown_and_exported() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let data = ["--data-dir", folder.path().to_str().unwrap()];
        Command::new(PROGRAM).args(data).args(arguments).output().unwrap()
    };
    assert_eq!(run(&["audit", "verify"]).status.code(), Some(1), "there is no database yet");
    ok(&run(&["init-db"]));
    ok(&run(&["register", "a", "http://127.0.0.1:9/mcp"]));
    ok(&run(&["audit", "hold", "default"]));
    let reports: Value = serde_json::from_str(&ok(&run(&["audit", "verify", "--json"]))).unwrap();
    assert_eq!((&reports[0]["last"], &reports[0]["hold"]), (&json!(2), &json!(true)), "{reports}");
    assert!(ok(&run(&["audit", "list", "--action", "server.register"])).contains("server.register"));
    let exported = run(&["audit", "export"]);
    let lines = String::from_utf8(exported.stdout).unwrap();
    let rows: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((rows.len(), &rows[0]["action"]), (2, &json!("audit.hold")));
    assert!(ok(&run(&["audit", "export", "--format", "csv"])).starts_with("number,at,tenant_id"));

    // Another key beside the database: what it signs is not what was signed.
    std::fs::remove_file(folder.path().join("gateway.audit-key")).unwrap();
    let broken = run(&["audit", "verify"]);
    assert_eq!(broken.status.code(), Some(1));
    assert!(text(&broken).contains("another key"), "{}", text(&broken));
}

/// A-18: there is no secret that every installation has, so that without one nobody but this machine is served.
#[test]
fn only_loopback_is_served_without_authentication() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(PROGRAM)
        .args(["serve", "--host", "0.0.0.0", "--port", "0", "--data-dir"])
        .arg(folder.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    // The exact lines that would mend it.
    for line in
        ["is not a loopback address", "\n    [auth]\n    api_keys = true\n", "keys create --role admin"]
    {
        assert!(text(&output).contains(line), "{line}: {output:?}");
    }
}

#[test]
fn commands_find_the_gateway_that_serves_their_database_wherever_it_listens() {
    let serving = Serving::start(&[]);
    let port_of_another = "1";
    let run = |arguments: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).env("MREG_SERVER__PORT", port_of_another);
        command.env("MREG_DATA_DIR", serving.folder.path()).output().unwrap()
    };
    let said = ok(&run(&["register", "late", "http://127.0.0.1:9/mcp"]));
    assert!(said.contains(&serving.url), "{said}");
    let listed: Value = serde_json::from_slice(&serving.run(&["list", "--json"]).stdout).unwrap();
    assert_eq!(listed["servers"][0]["name"], "late", "the running gateway knows it at once");
    assert!(ok(&run(&["healthcheck"])).contains("healthy"));

    let second = run(&["serve", "--port", "0"]);
    assert!(!second.status.success() && text(&second).contains(&serving.url), "{second:?}");
}

#[test]
fn without_a_running_gateway_commands_write_to_the_database_and_the_next_one_serves_it() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(PROGRAM);
        // Nobody can listen on this port.
        command.args(arguments).env("MREG_SERVER__PORT", "1").env("MREG_DATA_DIR", folder.path());
        command.output().unwrap()
    };
    let said = ok(&run(&["register", "early", "http://127.0.0.1:9/mcp"]));
    assert!(said.contains("gateway.db") && said.contains("no gateway is running"), "{said}");
    let serving = Serving::start_in(folder, &[]);
    assert!(ok(&serving.run(&["list"])).contains("early"));
}

/// A-06: no file of the database ever has a key in it. A-11: a key that another process revoked ends while the gateway runs.
#[test]
fn keys_are_made_and_revoked_beside_the_gateway_that_serves_their_database() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("mcp-gateway.toml"), "[auth]\napi_keys = true\n").unwrap();
    let serving = Serving::start_in(folder, &[]);
    let run = |key: &str, arguments: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).arg("--data-dir").arg(serving.folder.path());
        if !key.is_empty() {
            command.env("MREG_KEY", key);
        }
        command.output().unwrap()
    };
    // Each asks anew, so that fifty are far longer than the second within which a change is taken up.
    let eventually = |key: &str, works: bool| (0..50).any(|_| run(key, &["list"]).status.success() == works);
    let refused = run("", &["list"]);
    assert!(!refused.status.success() && text(&refused).contains("authentication required"), "{refused:?}");

    let made = run("", &["keys", "create", "--role", "admin", "operator", "--json"]);
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    let (key, id) = (made["key"].as_str().unwrap(), made["id"].as_str().unwrap());
    assert!(eventually(key, true), "the gateway takes up a key that was made beside it");

    let other = run(key, &["keys", "create", "--url", &serving.url, "--role", "viewer", "reader", "--json"]);
    let other: Value = serde_json::from_slice(&other.stdout).unwrap();
    assert!(run(other["key"].as_str().unwrap(), &["list"]).status.success());
    assert!(ok(&run(key, &["keys", "list", "--url", &serving.url])).contains("reader"));
    let rotated = ok(&run("", &["keys", "rotate", other["id"].as_str().unwrap()]));
    assert!(rotated.contains("mcp_"), "{rotated}");
    assert!(run(other["key"].as_str().unwrap(), &["list"]).status.success(), "the old one lives for a day");

    ok(&run("", &["keys", "revoke", id]));
    assert!(eventually(key, false), "the gateway takes up that it was revoked");
    let listed: Value = serde_json::from_slice(&run("", &["keys", "list", "--json"]).stdout).unwrap();
    assert_eq!(listed["total"], 3);
    for file in std::fs::read_dir(serving.folder.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        let has = |part: &str| bytes.windows(part.len()).any(|window| window == part.as_bytes());
        assert!(!has(&key[4..60]) && !has(&other["key"].as_str().unwrap()[4..60]));
    }
}

/// S-07: on the command line, too, what the file demands is asked for, and a package without an exact version is refused.
#[test]
fn a_server_json_is_registered_by_the_command_and_its_values_are_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let run = |arguments: &[&str]| {
        let mut command = Command::new(PROGRAM);
        // No package is started: this path has no programs. Nobody can listen on this port.
        command.args(arguments).env("MREG_SERVER__PORT", "1").env("MREG_DATA_DIR", &data);
        command.env("PATH", folder.path()).output().unwrap()
    };
    let write = |version: &str| {
        let file = folder.path().join("server.json");
        let package = json!({ "registryType": "npm", "identifier": "weather", "version": version,
            "transport": { "type": "stdio" }, "environmentVariables": [{ "name": "KEY", "isRequired": true }] });
        let text = json!({ "name": "io.github.ann/weather", "version": "1.0.2", "packages": [package] });
        std::fs::write(&file, text.to_string()).unwrap();
        file.display().to_string()
    };
    let file = write("1.0.2");
    for command in [&["register", "--server-json", &file][..], &["import", &file]] {
        let refused = run(command);
        assert!(!refused.status.success(), "{refused:?}");
        assert!(text(&refused).contains("`KEY` is required"), "{command:?}: {}", text(&refused));
    }
    ok(&run(&["register", "--server-json", &file, "--env", "KEY=k"]));
    ok(&run(&["register", "--server-json", &file, "--env", "KEY=k", "rain"]));
    let listed: Value = serde_json::from_slice(&run(&["list", "--json"]).stdout).unwrap();
    let servers: Vec<_> =
        listed["servers"].as_array().unwrap().iter().map(|s| (&s["name"], &s["args"])).collect();
    let args = json!(["-y", "weather@1.0.2"]);
    assert_eq!(servers, [(&json!("rain"), &args), (&json!("weather"), &args)]);
    let loose = run(&["register", "--server-json", &write("latest"), "--env", "KEY=k", "late"]);
    assert!(!loose.status.success() && text(&loose).contains("an exact one"), "{}", text(&loose));
}
