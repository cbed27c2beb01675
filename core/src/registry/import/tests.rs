//! Files of clients and of other gateways, one sample each, and what is left out of them.

mod gateways;

use std::path::Path;

use super::*;
use crate::model::{Status, TransportType};

fn variables(name: &str) -> Option<String> {
    match name {
        "TOKEN" | "GITHUB_PERSONAL_ACCESS_TOKEN" => Some("canary-of-a-token".to_owned()),
        "TENANT" => Some("canary-tenant".to_owned()),
        "MREG_AUTH__API_KEYS" => Some("own".to_owned()),
        _ => None,
    }
}

fn named(text: &str) -> Import {
    let reading =
        Reading { variables: Some(&variables), folder: Some(Path::new("/srv/app")), ..Reading::default() };
    read(text, &reading).unwrap()
}

fn names(import: &Import) -> Vec<&str> {
    import.registrations.iter().map(|registration| registration.name.as_str()).collect()
}

fn reasons(import: &Import) -> String {
    import.excluded.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn notes(import: &Import) -> String {
    import.notes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn find<'a>(import: &'a Import, name: &str) -> &'a Registration {
    import.registrations.iter().find(|one| one.name == name).unwrap_or_else(|| panic!("{name}: {import:?}"))
}

fn header<'a>(registration: &'a Registration, name: &str) -> &'a str {
    &registration.configuration.as_ref().unwrap().headers[name]
}

#[test]
fn the_file_of_a_desktop_client_is_read() {
    let file = r#"{"mcpServers": {
        "files": {"command": "npx", "args": ["-y", "server-filesystem", "/tmp"], "env": {"A": "b"}},
        "web": {"type": "streamable-http", "url": "https://h/mcp", "headers": {"Authorization": "Bearer x"}},
        "old": {"type": "sse", "serverUrl": "https://h/sse"},
        "My Server!": {"url": "http://h/mcp", "autoApprove": ["x"]},
        "off": {"command": "x", "disabled": true}
    }, "theme": "dark"}"#;
    let import = mcp_servers(file).unwrap();
    assert_eq!(import.format, Format::McpServers);
    assert_eq!(names(&import), ["my-server", "files", "off", "old", "web"]);
    let files = find(&import, "files");
    assert_eq!(
        (files.command.as_deref(), files.args.len(), &files.env["A"]),
        (Some("npx"), 3, &"b".to_owned())
    );
    assert_eq!(find(&import, "old").transport_type, Some(TransportType::Sse));
    assert_eq!(find(&import, "web").transport_type, Some(TransportType::Http));
    assert_eq!(header(find(&import, "web"), "Authorization"), "Bearer x");
    assert_eq!(find(&import, "off").status, Some(Status::Inactive));
    let notes = notes(&import);
    for part in ["`my-server`", "`autoApprove`", "\"off\": it is switched off"] {
        assert!(notes.contains(part), "{notes}");
    }
}

/// FIELD A: one entry that cannot be used costs that entry.
#[test]
fn every_entry_that_cannot_be_read_is_named_and_the_others_are_read() {
    let file = r#"{"mcpServers": {"a": {}, "b": {"command": {}}, "c": {"url": "http://h", "type": "smoke"},
        "d": {"url": "http://u", "command": "c"}, "日": {"url": "http://u"}, "X y": {"url": "http://u"}, "x-y": {"url": "http://u"},
        "e": 5, "f": {"url": "not a url"}, "g": {"url": "http://h", "headers": {"Host": "x"}}, "h": {"command": "x", "env": {"A=B": "hush"}},
        "i": {"command": "x", "args": [{"hush": 1}]}, "j": {"url": "http://h", "disabled": "hush"}, "good": {"command": "x"}}}"#;
    let import = mcp_servers(file).unwrap();
    assert_eq!(names(&import), ["x-y", "good"]);
    let reasons = reasons(&import);
    assert_eq!(import.excluded.len(), 12, "{reasons}");
    for name in [
        "\"a\"",
        "\"b\"",
        "\"c\"",
        "\"d\"",
        "\"日\"",
        "\"x-y\" cannot be imported: it becomes `x-y`, as \"X y\"",
        "\"e\"",
        "\"f\"",
    ] {
        assert!(reasons.contains(name), "{name} in {reasons}");
    }
    assert!(!reasons.contains("hush"), "{reasons}");
    for bad in ["", "[", "{}", r#"{"mcpServers": 1}"#, r#"{"theme": "dark"}"#, "just text"] {
        assert_eq!(mcp_servers(bad).unwrap_err().kind(), ErrorKind::InvalidParams, "{bad}");
    }
}

/// X-31: a name or a member that stands twice is nobody's choice.
#[test]
fn what_stands_twice_is_refused_and_named() {
    let import = mcp_servers(
        r#"{"mcpServers": {"a": {"command": "x"}, "a": {"command": "evil"}, "b": {"command": "x", "command": "y"},
            "c": {"command": "x", "env": {"A": 1, "A": 2}}, "d": {"command": "x"}, "e\u001b[2J": {"command": "x"}, "日\u202e\u0007": {}}}"#,
    )
    .unwrap();
    assert_eq!(names(&import), ["d", "e--2j"]);
    assert_eq!(import.excluded.len(), 4, "{}", reasons(&import));
    let said = notes(&import) + &reasons(&import);
    assert!(!said.contains(['\u{1b}', '\u{202e}', '\u{7}']), "a name moves no cursor: {said}");
    let error =
        mcp_servers(r#"{"mcpServers": {"a": {"command": "x"}}, "mcpServers": {"a": {"command": "y"}}}"#)
            .unwrap_err();
    assert!(error.message().contains("`mcpServers` stands twice"), "{error}");
}

#[test]
fn vs_code() {
    let import = named(
        r#"// .vscode/mcp.json
        {
            "inputs": [{ "type": "promptString", "id": "key", "password": true }],
            "servers": {
                "github": { "type": "http", "url": "https://api.example.com/mcp", "headers": { "Authorization": "Bearer ${env:TOKEN}" } },
                "asks": { "type": "stdio", "command": "npx", "args": ["x"], "env": { "KEY": "${input:key}" } },
                "local": { "command": "${workspaceFolder}/run", "args": ["--port", 8080,], "dev": { "watch": "x" } }, // trailing
            },
        }"#,
    );
    assert_eq!((import.format, names(&import)), (Format::VsCode, vec!["github", "local"]));
    assert_eq!(header(find(&import, "github"), "Authorization"), "Bearer canary-of-a-token");
    let local = find(&import, "local");
    assert_eq!((local.command.as_deref(), local.args[1].as_str()), (Some("/srv/app/run"), "8080"));
    assert!(reasons(&import).contains("\"asks\" cannot be imported: `${input:key}` asks a person"));
    for settings in [
        r#"{"mcp": {"servers": {"a": {"command": "x"}}}}"#,
        r#"{"mcp.servers": {"a": {"command": "x"}}, "editor.tabSize": 2}"#,
    ] {
        assert_eq!(names(&named(settings)), ["a"], "{settings}");
    }
}

#[test]
fn claude_code_with_its_projects() {
    let import = named(
        r#"{"numStartups": 3, "mcpServers": {"docs": {"type": "http", "url": "${BASE:-https://docs.example}/mcp"}},
            "projects": {
                "/home/ann/app": {"mcpServers": {"db": {"type": "stdio", "command": "db", "args": [], "env": {}}}, "disabledMcpServers": ["db"]},
                "/home/ann/site": {"mcpServers": {"docs": {"type": "http", "url": "${BASE:-https://docs.example}/mcp"}, "db": {"command": "other"}}},
                "/home/ann/bare": {"allowedTools": []}
            }}"#,
    );
    assert_eq!((import.format, names(&import)), (Format::ClaudeCode, vec!["docs", "db"]));
    assert_eq!(find(&import, "docs").endpoint_url.as_deref(), Some("https://docs.example/mcp"));
    assert_eq!(find(&import, "db").status, Some(Status::Inactive));
    assert!(reasons(&import).contains("as \"db\" does"), "{}", reasons(&import));
    assert!(notes(&import).contains("/home/ann/app"), "{}", notes(&import));
}

#[test]
fn cursor_and_windsurf_and_cline() {
    let import = named(
        r#"{"mcpServers": {
            "cursor": {"url": "https://h/mcp", "headers": {"X-Key": "${env:TOKEN}"}},
            "pipe": {"command": "x", "envFile": "/dev/zero"},
            "remote": {"command": "npx", "args": "mcp-remote --header 'Authorization:${AUTH}'", "env": {"AUTH": "Bearer ${TOKEN}"}, "disabled": "no", "timeout": 1, "url": null},
            "windsurf": {"serverUrl": "https://h/mcp", "disabledTools": ["x"]},
            "cline": {"url": "https://h/mcp", "type": "streamableHttp", "disabled": true, "timeout": 60, "alwaysAllow": [], "transportType": "http"},
            "stdio": {"command": "node", "args": "server.js", "transportType": "stdio", "cwd": "${userHome}"}
        }}"#,
    );
    assert_eq!(names(&import), ["cline", "cursor", "remote", "windsurf"]);
    assert_eq!(header(find(&import, "cursor"), "X-Key"), "canary-of-a-token");
    // `mcp-remote` itself replaces a variable that the entry gives it.
    assert_eq!(find(&import, "remote").args[2], "Authorization:${AUTH}");
    assert_eq!(find(&import, "remote").env["AUTH"], "Bearer canary-of-a-token");
    for part in ["\"pipe\" cannot be imported: its `envFile`", "`${userHome}` has no value here"] {
        assert!(reasons(&import).contains(part), "{part} in {}", reasons(&import));
    }
    assert_eq!(find(&import, "cline").status, Some(Status::Inactive));
    assert_eq!(find(&import, "cline").transport_type, Some(TransportType::Http));
}

#[test]
fn zed() {
    let import = named(
        r#"{
            // Zed's settings
            "theme": "One Dark",
            "context_servers": {
                "own": { "source": "custom", "command": "npx", "args": ["-y", "x"], "env": {} },
                "older": { "command": { "path": "node", "args": ["a.js"], "env": { "A": "1" } } },
                "remote": { "url": "https://h/mcp", "headers": { "Authorization": "Bearer k" }, "enabled": false },
                "extension": { "source": "extension", "settings": { "key": "hush" } },
            },
        }"#,
    );
    assert_eq!((import.format, names(&import)), (Format::Zed, vec!["older", "own", "remote"]));
    assert_eq!(
        (find(&import, "older").command.as_deref(), find(&import, "older").args.len()),
        (Some("node"), 1)
    );
    assert_eq!(find(&import, "remote").status, Some(Status::Inactive));
    assert!(reasons(&import).contains("\"extension\"") && !reasons(&import).contains("hush"));
}

#[test]
fn gemini() {
    let import = named(
        r#"{"security": {"auth": {}}, "mcp": {"excluded": ["off"]}, "mcpServers": {
            "http": {"httpUrl": "https://h/mcp", "url": "https://h/sse", "headers": {"Authorization": "Bearer $TOKEN", "X": "a-$TENANT-b"}, "timeout": 5000, "trust": true},
            "missing": {"command": "x", "env": {"KEY": "$NOT_THERE"}},
            "off": {"command": "x"}
        }}"#,
    );
    assert_eq!((import.format, names(&import)), (Format::Gemini, vec!["http", "off"]));
    assert_eq!(find(&import, "http").endpoint_url.as_deref(), Some("https://h/mcp"));
    assert_eq!(header(find(&import, "http"), "Authorization"), "Bearer canary-of-a-token");
    assert_eq!(header(find(&import, "http"), "X"), "a-canary-tenant-b");
    assert_eq!(find(&import, "off").status, Some(Status::Inactive));
    assert!(reasons(&import).contains("`NOT_THERE` is not set"), "{}", reasons(&import));
}

#[test]
fn codex_and_open_code() {
    let import = named(
        "model = \"o\"\n[mcp_servers.docs]\nurl = \"https://h/mcp\"\nbearer_token_env_var = \"TOKEN\"\nenabled = false\n\n\
         [mcp_servers.files]\ncommand = \"npx\"\nargs = [\"-y\", \"x\"]\nenv_vars = [\"TENANT\"]\nstartup_timeout_sec = 20\n",
    );
    assert_eq!((import.format, names(&import)), (Format::Codex, vec!["docs", "files"]));
    assert_eq!(header(find(&import, "docs"), "Authorization"), "Bearer canary-of-a-token");
    assert_eq!(find(&import, "docs").status, Some(Status::Inactive));
    assert_eq!(find(&import, "files").env["TENANT"], "canary-tenant");
    let import = named(
        r#"{"$schema": "https://opencode.ai/config.json", "mcp": {
            "local": {"type": "local", "command": ["bun", "x", "pkg"], "environment": {"K": "{env:TOKEN}"}, "enabled": true},
            "remote": {"type": "remote", "url": "https://h/mcp", "enabled": false}
        }}"#,
    );
    assert_eq!((import.format, names(&import)), (Format::OpenCode, vec!["local", "remote"]));
    let local = find(&import, "local");
    assert_eq!(
        (local.command.as_deref(), local.args.as_slice()),
        (Some("bun"), ["x", "pkg"].map(str::to_owned).as_slice())
    );
    assert_eq!(
        (local.env["K"].as_str(), local.transport_type),
        ("canary-of-a-token", Some(TransportType::Stdio))
    );
    assert_eq!(find(&import, "remote").transport_type, Some(TransportType::Http));
}

#[test]
fn registrations_of_this_gateway_and_server_json() {
    let import = named(
        r#"[{"name": "A", "endpoint_url": "http://h/${TENANT}"}, {"name": "b", "command": "npx -y x", "capabilities": {"tools": ["t"]}}]"#,
    );
    assert_eq!((import.format, names(&import)), (Format::Registrations, vec!["A", "b"]));
    assert_eq!(find(&import, "b").args, ["-y", "x"]);
    let (one, _) =
        registration(r#"{"name": "one", "url": "http://h/mcp", "weight": 3}"#, &Reading::default()).unwrap();
    assert_eq!((one.name.as_str(), one.weight), ("one", Some(3)));
    for bad in [
        r#"{"mcpServers": {"a": {"command": "x"}, "b": {"command": "y"}}}"#,
        r#"{"name": "a", "command": ""}"#,
        r#"{"name": "a", "url": "http://h", "wieght": 1}"#,
    ] {
        assert_eq!(registration(bad, &Reading::default()).unwrap_err().kind(), ErrorKind::InvalidParams);
    }
    assert_eq!(
        read(r#"{"packages": []}"#, &Reading::default()).unwrap_err().kind(),
        ErrorKind::InvalidParams
    );
    let forced = Reading { format: Some(Format::Zed), ..Reading::default() };
    let error = read(r#"{"mcpServers": {}}"#, &forced).unwrap_err();
    assert!(error.message().contains("`context_servers`"), "{error}");
}

/// FIELD F: variables are those of the process that reads a file that an operator named, and never the gateway's own.
#[test]
fn variables_are_replaced_in_files_that_an_operator_named_and_are_secret() {
    let file = r#"{"mcpServers": {
        "url": {"url": "https://${TENANT}.example/mcp?k=${TOKEN}"},
        "args": {"command": "x", "args": ["--token", "${TOKEN}", "${NONE:-fallback}"], "env": {"K": "${TOKEN}"}},
        "own": {"command": "x", "env": {"K": "${MREG_AUTH__API_KEYS}"}},
        "missing": {"command": "x", "args": ["${FIRST}", "${SECOND}"]}
    }}"#;
    let import = named(file);
    assert_eq!(names(&import), ["args", "url"]);
    let url = find(&import, "url");
    assert_eq!(url.endpoint_url.as_deref(), Some("https://canary-tenant.example/mcp?k=canary-of-a-token"));
    let secrets =
        |registration: &Registration| registration.configuration.clone().unwrap_or_default().secrets;
    assert_eq!(secrets(url), ["canary-of-a-token", "canary-tenant"]);
    assert_eq!(secrets(find(&import, "args")), ["canary-of-a-token"]);
    assert_eq!(find(&import, "args").args, ["--token", "canary-of-a-token", "fallback"]);
    let reasons = reasons(&import);
    for part in
        ["`FIRST` is not set", "`SECOND` is not set", "`MREG_AUTH__API_KEYS` is a variable of the gateway"]
    {
        assert!(reasons.contains(part), "{part} in {reasons}");
    }
    let unnamed = mcp_servers(file).unwrap();
    assert_eq!(find(&unnamed, "args").args[1], "${TOKEN}");
    assert!(notes(&unnamed).contains("`${TOKEN}` stays as it is"), "{}", notes(&unnamed));
}

#[test]
fn a_file_of_variables_is_read_under_those_of_the_entry() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(".env"), "# c\nexport A='one'\nB=\"two\"\nC=${TOKEN}\n\n").unwrap();
    let file =
        r#"{"servers": {"a": {"command": "x", "envFile": "${workspaceFolder}/.env", "env": {"B": "own"}}}}"#;
    let reading = Reading { variables: Some(&variables), folder: Some(folder.path()), ..Reading::default() };
    let import = read(file, &reading).unwrap();
    let env = &find(&import, "a").env;
    assert_eq!((env["A"].as_str(), env["B"].as_str(), env["C"].as_str()), ("one", "own", "${TOKEN}"));
    let unnamed = mcp_servers(file).unwrap();
    assert!(find(&unnamed, "a").env.len() == 1 && notes(&unnamed).contains("was not read"));
    std::fs::write(folder.path().join(".env"), "hush").unwrap();
    let refused = reasons(&read(file, &reading).unwrap());
    assert!(refused.contains("line 1") && !refused.contains("hush"), "{refused}");
}

/// Every client's text is read back as what it says, so that it is valid for that client.
#[test]
fn what_is_exported_is_read_again() {
    let key = |name: &str| (name == "MCP_GATEWAY_KEY").then(|| "mcp_k".to_owned());
    for client in Client::ALL {
        for (given, guarded) in [(None, false), (None, true), (Some("mcp_given"), true)] {
            let target = Target { name: "my-gateway", url: "https://gw.example/mcp", guarded, key: given };
            let text = export(*client, &target);
            let reading = Reading { variables: Some(&key), ..Reading::default() };
            let import = read(&text, &reading).unwrap();
            if *client == Client::VsCode && guarded && given.is_none() {
                assert!(reasons(&import).contains("`${input:mcp-gateway-key}` asks"), "{text}");
                continue;
            }
            assert_eq!(names(&import), ["my-gateway"], "{text}\n{}", reasons(&import));
            let one = &import.registrations[0];
            let sent = one.configuration.as_ref().and_then(|with| with.headers.get("Authorization")).cloned();
            let said = match (given, guarded, client) {
                (Some(key), ..) => Some(format!("Bearer {key}")),
                (None, false, _) => None,
                (None, true, Client::Zed | Client::Cline | Client::Claude) => {
                    Some("Bearer YOUR_KEY".to_owned())
                }
                (None, true, _) => Some("Bearer mcp_k".to_owned()),
            };
            if *client == Client::Claude {
                assert_eq!((one.command.as_deref(), one.args[2].as_str()), (Some("npx"), target.url));
                assert_eq!(one.env.get("AUTHORIZATION").cloned(), said, "{text}");
            } else {
                assert_eq!((one.endpoint_url.as_deref(), sent), (Some(target.url), said), "{text}");
            }
        }
    }
}

#[test]
fn names_are_mapped_the_same_way_every_time() {
    for (name, expected) in [
        ("GitHub", Some("github")),
        ("@scope/pkg", Some("scope-pkg")),
        ("a__b", Some("a_b")),
        ("tools", Some("tools-server")),
        ("-x-", Some("x")),
        ("Größe", Some("gr--e")),
        ("日本", None),
        (&format!("{}-b", "a".repeat(62)), Some("a".repeat(62).as_str())),
    ] {
        assert_eq!(mapped(name).as_deref(), expected, "{name}");
    }
}
