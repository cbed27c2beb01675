use super::*;

fn file(text: &str) -> Sources {
    Sources { file: Some(("c.toml".into(), text.into())), ..Sources::default() }
}

fn environment(variables: &[(&str, &str)]) -> Sources {
    let owned = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
    Sources { file: None, environment: owned.collect(), ..Sources::default() }
}

fn problems(sources: &Sources) -> Vec<String> {
    load(sources).unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn nothing_at_all_is_a_configuration() {
    let config = load(&Sources::default()).unwrap();
    assert_eq!((config.server.host.to_string().as_str(), config.server.port), ("127.0.0.1", 8000));
    assert_eq!(config.session.idle.as_secs(), 1800);
}

/// B-28: unknown keys and wrong values are all named, with their line.
#[test]
fn every_problem_is_reported_at_once_with_its_line_and_the_nearest_key() {
    let text = "[server]\nprot = 1\nport = \"x\"\n[sever]\nport = 1\n[breaker]\nfailure_percent = 700\n";
    assert_eq!(
        problems(&file(text)),
        [
            "c.toml:2: `server.prot`: there is no such key; did you mean `server.port`?",
            "c.toml:3: `server.port`: invalid type: string \"x\", expected u16",
            "c.toml:4: `sever`: there is no such key; did you mean `server`?",
            "c.toml:7: `breaker.failure_percent`: expected a percentage from 1 to 100",
        ]
    );
}

#[test]
fn text_that_is_not_toml_is_refused_with_its_line() {
    let found = problems(&file("[server]\nport = = 1\n"));
    assert!(found[0].starts_with("c.toml:2: "), "{found:?}");
}

#[test]
fn the_environment_overrides_the_file_and_takes_the_keys_type() {
    let mut sources = file("[server]\nport = 1\nlegacy = true\n");
    sources.environment = environment(&[
        ("MREG_SERVER__PORT", "9000"),
        ("MREG_SERVER__LEGACY", "false"),
        ("MREG_SERVER__ALLOWED_HOSTS", "a.example, b.example:1"),
        ("MREG_STORE__PATH", "7"),
        ("MREG_SESSION__IDLE_SECONDS", "1.5"),
        ("MREG_LOG", "debug"),
        ("MREG_DATA_DIR", "/x"),
    ])
    .environment;
    let config = load(&sources).unwrap();
    assert_eq!((config.server.port, config.server.legacy), (9000, false));
    assert_eq!(config.server.allowed_hosts, ["a.example", "b.example:1"]);
    assert_eq!(config.store.path.unwrap().to_str(), Some("7"));
    assert_eq!(config.session.idle.as_millis(), 1500);
    assert_eq!(config.log.level, "debug");
}

/// B-28: so are variables.
#[test]
fn a_variable_that_is_misspelt_or_does_not_fit_is_named() {
    let found = problems(&environment(&[
        ("MREG_SERVER__PORTS", "1"),
        ("MREG_SERVER__PORT", "70000"),
        ("MREG_SERVER__HOST", "nowhere"),
        ("MREG_SERVERS", "x"),
    ]));
    assert_eq!(
        found,
        [
            "environment variable MREG_SERVERS: `servers`: expected `[[servers]]` or `[servers.NAME]` in the file",
            "environment variable MREG_SERVER__HOST: `server.host`: invalid IP address syntax",
            "environment variable MREG_SERVER__PORT: `server.port`: invalid value: integer `70000`, expected u16",
            "environment variable MREG_SERVER__PORTS: the gateway has no such setting; did you mean `MREG_SERVER__PORT`?",
        ]
    );
}

#[test]
fn servers_are_read_in_both_forms_and_named_by_their_table() {
    let list = load(&file(
        "[[servers]]\nname = \"a\"\nendpoint_url = \"http://x/\"\n[servers.capabilities]\ntools = [{name = \"t\"}]\n",
    ));
    let servers = list.unwrap().servers;
    assert_eq!(servers[0].capabilities.as_ref().unwrap().get(), r#"{"tools":[{"name":"t"}]}"#);
    let table = load(&file("[servers.b]\ncommand = \"x\"\nargs = [\"y\"]\n")).unwrap();
    assert_eq!((table.servers[0].name.as_str(), table.servers[0].args.len()), ("b", 1));
}

/// B-28: no problem repeats a value that may be secret.
#[test]
fn a_wrong_server_is_reported_by_its_field_and_its_values_stay_secret() {
    let text = "[[servers]]\nname = \"a\"\nenv = \"TOKEN=hunter2\"\n[[servers]]\nname = \"b\"\nendpoint_ulr = \"http://x\"\n\
                [[servers]]\nendpoint_url = \"x\"\n";
    let found = problems(&file(text));
    assert_eq!(found[0], "c.toml:1: `servers[0].env`: expected a map");
    assert_eq!(
        found[1],
        "c.toml:4: `servers[1].endpoint_ulr`: there is no such member; did you mean `endpoint_url`?"
    );
    assert_eq!(found[2], "c.toml:7: `servers[2]`: missing field `name`");
}

#[test]
fn keys_that_contradict_each_other_are_reported() {
    let found = problems(&file("[session]\nmax_seconds = 10\nidle_seconds = 20\n"));
    assert_eq!(found, ["c.toml:3: `session.idle_seconds`: is longer than `session.max_seconds`"]);
    let found = problems(&file("[[servers]]\nname = \"a\"\n[[servers]]\nname = \"a\"\n"));
    assert!(found[0].contains("two servers are named `a`"), "{found:?}");
}

/// B-28: a file that is too large is refused.
#[test]
fn a_bomb_is_refused_instead_of_eaten() {
    let deep = format!("x = {}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(load(&file(&deep)).is_err());
}

#[test]
fn a_named_file_that_is_missing_is_a_problem_and_a_missing_default_is_not() {
    let missing = std::path::Path::new("no/such/file.toml");
    assert!(
        Sources::gather(Some(missing), None, None).unwrap_err().to_string().contains("no/such/file.toml")
    );
    assert!(Sources::gather(None, Some(std::path::Path::new("no/such")), None).is_ok());
}

#[test]
fn an_address_that_others_reach_is_refused_while_nobody_is_authenticated() {
    let mut sources = file("[server]\nhost = \"::1\"\n");
    assert!(load(&sources).is_ok());
    sources.options = vec![("--host", "server.host", "0.0.0.0".into())];
    let found = problems(&sources);
    assert!(found[0].starts_with("option --host: `server.host`: is not a loopback address"), "{found:?}");
    assert!(found[0].contains("--host 127.0.0.1") && found[0].contains("api_keys = true"), "{found:?}");
    sources.file = file("[auth]\napi_keys = true\n").file;
    assert!(load(&sources).is_ok());
    let issuer = "[[auth.issuers]]\nname = \"corp\"\nissuer = \"https://login.example\"\n";
    sources.file = file(issuer).file;
    let found = problems(&sources);
    assert!(found[0].contains("auth.url"), "{found:?}");
    sources.file = file(&format!("[auth]\nurl = \"https://gate.example\"\n{issuer}")).file;
    assert!(load(&sources).is_ok());
}

/// B-28: sections within sections are read key by key, from the file and from the environment.
#[test]
fn a_section_within_a_section_is_read_key_by_key() {
    let config = load(&file(
        "[server.tls]\ncert = 'a.pem'\nkey = 'b.pem'\n[outbound]\ntenants = { a = ['10.0.0.0/8'] }",
    ))
    .unwrap();
    assert!(config.server.tls.is_on() && config.outbound.tenants.len() == 1);
    let config =
        load(&environment(&[("MREG_SERVER__TLS__CERT", "a"), ("MREG_SERVER__TLS__KEY", "b")])).unwrap();
    assert!(config.server.tls.is_on());
    let found = problems(&file("[server.tls]\ncert = 'a.pem'\nkye = 'b'"));
    assert!(found.iter().any(|problem| problem.contains("server.tls.kye")), "{found:?}");
    let found = problems(&file("[server.tls]\ncert = 'a.pem'"));
    assert!(found.iter().any(|problem| problem.contains("needs `server.tls.key`")), "{found:?}");
}

/// B-28: the value of a secret key is shown nowhere.
#[test]
fn a_secret_is_not_shown() {
    let secret = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3I=";
    let config = load(&environment(&[("MREG_CREDENTIALS__KEY", secret)])).unwrap();
    assert_eq!(config.credentials.key.as_ref().unwrap().expose(), secret);
    assert!(!format!("{config:?}").contains(secret));
    assert!(!serde_json::to_string(&config).unwrap().contains(secret));
}

/// B-20, A-23: an entry that lists nothing, or everything, is refused with its key.
#[test]
fn an_entry_of_a_list_that_cannot_be_meant_is_refused() {
    for (text, key) in [
        ("[outbound]\nallow = ['10.1']", "outbound.allow"),
        ("[outbound]\nallow = ['http://10.0.0.1/']", "outbound.allow"),
        ("[stdio]\nallow = [{ command = 'sh' }]", "stdio.allow"),
        ("[stdio]\nallow = [{ command = '/bin/bash', args = ['**'] }]", "stdio.allow"),
        ("[stdio]\nenv = ['LD_PRELOAD']", "stdio.env"),
    ] {
        let found = problems(&file(text));
        assert!(found.len() == 1 && found[0].contains(key), "{text}: {found:?}");
    }
}

#[cfg(feature = "cli")]
mod dotenv {
    use super::*;

    /// A folder with a `.env` of this text, which no other user can read, and the file.
    fn written(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(DOTENV_FILE);
        std::fs::write(&path, text).unwrap();
        mode(&path, 0o600);
        (folder, path)
    }

    fn mode(path: &std::path::Path, mode: u32) {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    fn sources_of(text: &str) -> Sources {
        let (_folder, path) = written(text);
        Sources { dotenv: Dotenv::read(&path).unwrap(), ..Sources::default() }
    }

    fn refusal(text: &str) -> String {
        let (folder, path) = written(text);
        let said = Dotenv::read(&path).unwrap_err().to_string();
        said.replace(&*folder.path().to_string_lossy(), "")
    }

    #[test]
    fn its_values_stand_over_the_file_and_under_the_environment() {
        let mut sources =
            sources_of("MREG_SERVER__PORT=9000\nexport MREG_LOG='debug'\nMREG_SERVER__SSE=true\n");
        sources.file = file("[server]\nport = 1\nlegacy = true\n").file;
        sources.environment = environment(&[("MREG_SERVER__SSE", "false")]).environment;
        let config = load(&sources).unwrap();
        assert_eq!((config.server.port, config.server.legacy, config.server.sse), (9000, true, false));
        assert_eq!(config.log.level, "debug");
        let (used, overridden) = sources.dotenv_names();
        assert_eq!((used, overridden), (vec!["MREG_SERVER__PORT", "MREG_LOG"], vec!["MREG_SERVER__SSE"]));
    }

    #[test]
    fn a_wrong_value_is_reported_with_its_file_and_the_line_where_it_begins() {
        let text = "\u{feff}# a comment\n\nOTHER=\"two\nlines\"\n\nMREG_SERVER__PORT=x\nMREG_SERVER__HOST=\"no\nwhere\"\nMREG_SERVER__PORTS=1\n";
        let found = problems(&sources_of(text));
        let lines: Vec<_> = found.iter().map(|problem| problem.rsplit('/').next().unwrap()).collect();
        assert!(lines[0].starts_with(".env:6: MREG_SERVER__PORT: `server.port`: invalid type"), "{lines:?}");
        assert!(
            lines[1].starts_with(".env:7: MREG_SERVER__HOST: `server.host`: invalid IP address"),
            "{lines:?}"
        );
        assert!(
            lines[2].starts_with(".env:9: MREG_SERVER__PORTS: the gateway has no such setting; did you mean")
        );
    }

    /// B-28: neither does the parser's message repeat the line, which can hold a secret.
    #[test]
    fn a_line_that_is_no_variable_is_reported_by_its_number_alone() {
        let said = refusal("A=1\nMREG_KEY=hunter2 and more\n");
        assert!(said.contains("/.env:2: expected `NAME=value`") && !said.contains("hunter2"), "{said}");
        let said = refusal("MREG_KEY='hunter2\n\nB=1\n");
        assert!(said.contains("/.env:1: expected") && !said.contains("hunter2"), "{said}");
        let said = refusal("MREG_LOG=info\nMREG_LOG=debug\n");
        assert!(said.contains("/.env:2: MREG_LOG is set here and in line 1"), "{said}");
    }

    #[test]
    fn only_a_regular_file_of_bounded_size_is_read_and_none_at_all_is_fine() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Dotenv::read(&folder.path().join(DOTENV_FILE)).unwrap(), None);
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert!(Dotenv::read(&pipe).unwrap_err().to_string().contains("is a named pipe"));
        assert!(refusal(&"A=1\n".repeat(20_000)).contains("is larger than the limit of 65536 bytes"));
    }

    #[test]
    fn a_secret_that_others_can_read_is_warned_of() {
        let (_folder, path) = written("MREG_CREDENTIALS__KEY=hunter2\n");
        let warnings = || Sources { dotenv: Dotenv::read(&path).unwrap(), ..Sources::default() }.warnings();
        assert_eq!(warnings(), Vec::<String>::new());
        mode(&path, 0o644);
        let said = warnings();
        assert!(
            said.len() == 1 && said[0].contains("MREG_CREDENTIALS__KEY") && said[0].contains("chmod 600"),
            "{said:?}"
        );
        assert!(!said[0].contains("hunter2") && !format!("{:?}", Dotenv::read(&path)).contains("hunter2"));
        let (_folder, path) =
            written("MREG_SERVER__PORT=1\nMREG_CREDENTIALS__KEY_FILE=k\nMREG_SERVER__TLS__KEY=k.pem\n");
        mode(&path, 0o644);
        assert_eq!(
            Sources { dotenv: Dotenv::read(&path).unwrap(), ..Sources::default() }.warnings(),
            Vec::<String>::new()
        );
    }
}

#[test]
fn variables_of_the_original_are_warned_of_and_refuse_nothing() {
    let sources = environment(&[
        ("MREG_AZURE_TENANT_ID", "x"),
        ("MREG_CA_FILE", "x"),
        ("MREG_POSTGRES_PASSWORD", "hunter2"),
        ("MREG_REDIS_URL", "redis://:hunter2@cache"),
    ]);
    assert!(load(&sources).is_ok());
    let said = sources.warnings();
    assert_eq!(said.len(), 3, "{said:?}");
    assert!(said[1].starts_with("MREG_POSTGRES_PASSWORD is not used by this build"), "{said:?}");
    assert!(!said.join(" ").contains("hunter2"));
}

#[test]
fn a_setting_is_read_by_its_former_name_with_a_warning() {
    let in_file = Sources {
        file: Some(("g.toml".into(), "[server]\nown_service = false\n".into())),
        ..Sources::default()
    };
    for sources in [in_file, environment(&[("MREG_SERVER__OWN_SERVICE", "false")])] {
        assert!(!load(&sources).unwrap().server.builtin_service);
        let said = sources.warnings();
        assert!(
            said.len() == 1
                && said[0].contains("`server.own_service` is called `server.builtin_service` today"),
            "{said:?}"
        );
    }
}
