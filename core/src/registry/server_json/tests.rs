//! Files as the official registry has them.

use serde_json::{Value, json};

use super::*;

fn asked(file: &Value, more: Value) -> ServerJson {
    let mut asked = more;
    asked["server_json"] = file.clone();
    // By its text, as it comes over the wire.
    serde_json::from_str(&asked.to_string()).unwrap()
}

fn npm() -> Value {
    json!({
        "$schema": "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json",
        "name": "io.github.ann/Weather", "title": "Weather", "description": "Tells the weather", "version": "1.0.2",
        "repository": { "url": "https://github.com/ann/weather", "source": "github" },
        "packages": [{
            "registryType": "npm", "identifier": "@ann/weather", "version": "1.0.2", "runtimeHint": "npx",
            "transport": { "type": "stdio" },
            "runtimeArguments": [{ "type": "named", "name": "--prefer-offline" }],
            "packageArguments": [
                { "type": "positional", "value": "serve" },
                { "type": "positional", "valueHint": "folder", "isRequired": true },
                { "type": "named", "name": "--units", "default": "metric", "choices": ["metric", "imperial"] },
                { "type": "named", "name": "--cache", "valueHint": "path" },
            ],
            "environmentVariables": [
                { "name": "API_KEY", "description": "Of the weather service", "isRequired": true, "isSecret": true },
                { "name": "LEVEL", "default": "info" },
                { "name": "PROXY" },
            ],
        }],
    })
}

#[test]
fn a_package_becomes_a_command_with_its_exact_version() {
    let given = json!({ "env": { "API_KEY": "k", "MORE": "m" }, "variables": { "folder": "/srv/a b" } });
    let made = server_json(asked(&npm(), given)).unwrap();
    assert_eq!((made.name.as_str(), made.version.as_deref()), ("weather", Some("1.0.2")));
    assert_eq!((made.command.as_deref(), made.transport_type), (Some("npx"), Some(TransportType::Stdio)));
    let args = ["-y", "--prefer-offline", "@ann/weather@1.0.2", "serve", "/srv/a b", "--units", "metric"];
    assert_eq!(made.args, args);
    let env: Vec<_> = made.env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(env, [("API_KEY", "k"), ("LEVEL", "info"), ("MORE", "m")]);
    assert_eq!(
        (made.display_name.as_deref(), made.description.as_deref()),
        (Some("Weather"), Some("Tells the weather"))
    );
}

#[test]
fn everything_that_is_required_and_missing_is_reported_at_once() {
    let error = server_json(asked(&npm(), json!({ "variables": { "units": "kelvin" } }))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidParams);
    let said: Vec<_> = error.context().iter().map(|(key, text)| (*key, text.as_str())).collect();
    assert_eq!(
        said,
        [
            ("env", "`API_KEY` is required and has no value: Of the weather service"),
            ("variables", "`folder` is required and has no value"),
            ("variables", "`--units` is one of metric, imperial"),
        ]
    );
}

/// S-07: a package without an exact version is refused, from any registry.
#[test]
fn a_package_that_is_not_pinned_is_refused() {
    let given = json!({ "env": { "API_KEY": "k" }, "variables": { "folder": "/" } });
    for version in [json!(null), json!("latest"), json!("^1.0.0"), json!("1.x"), json!("1"), json!("")] {
        let mut file = npm();
        file["packages"][0]["version"] = version.clone();
        let error = server_json(asked(&file, given.clone())).unwrap_err();
        assert!(error.context().iter().any(|(key, _)| *key == "version"), "{version}: {error}");
    }
    for (image, good) in [
        ("ghcr.io/ann/weather", false),
        ("ghcr.io:443/ann/weather", false),
        ("ghcr.io/ann/weather:latest", false),
        ("ghcr.io/ann/weather:1.0.2", true),
    ] {
        let file = json!({ "name": "x/y", "version": "1.0.2", "packages": [
            { "registryType": "oci", "identifier": image, "transport": { "type": "stdio" },
              "environmentVariables": [{ "name": "A", "value": "1" }] }] });
        let made = server_json(asked(&file, json!({})));
        assert_eq!(made.is_ok(), good, "{image}: {made:?}");
        if let Ok(made) = made {
            assert_eq!(made.args, ["run", "-i", "--rm", "-e", "A", image]);
        }
    }
}

#[test]
fn a_remote_is_taken_before_a_package_unless_the_package_is_wanted() {
    let mut file = npm();
    file["remotes"] = json!([
        { "type": "carrier-pigeon", "url": "x" },
        { "type": "streamable-http", "url": "https://{region}.example.com/mcp",
          "variables": { "region": { "default": "eu" } },
          "headers": [{ "name": "Authorization", "value": "Bearer {token}", "isRequired": true, "isSecret": true },
                      { "name": "X-Team" }] },
    ]);
    let error = server_json(asked(&file, json!({}))).unwrap_err();
    assert_eq!(error.context()[0], ("variables", "`token` is required and has no value".to_owned()));
    let given = json!({ "name": "w", "service": "s", "variables": { "token": "t", "region": "us" }, "headers": { "x-team": "a" } });
    let made = server_json(asked(&file, given)).unwrap();
    assert_eq!((made.name.as_str(), made.service.as_deref()), ("w", Some("s")));
    assert_eq!(made.endpoint_url.as_deref(), Some("https://us.example.com/mcp"));
    let headers = made.configuration.unwrap().headers;
    assert_eq!(headers["Authorization"], "Bearer t");
    assert_eq!(headers.keys().filter(|name| name.eq_ignore_ascii_case("x-team")).count(), 1, "{headers:?}");
    let given = json!({ "package": "npm", "env": { "API_KEY": "k" }, "variables": { "folder": "/" } });
    assert_eq!(server_json(asked(&file, given)).unwrap().command.as_deref(), Some("npx"));
}

#[test]
fn what_cannot_be_used_is_refused_with_what_there_was() {
    let odd = |package: Value| json!({ "name": "x/y", "version": "1.0.0", "packages": [package] });
    let stdio = json!({ "type": "stdio" });
    for package in [
        json!({ "registryType": "mcpb", "identifier": "x", "version": "1.0.0", "transport": stdio }),
        json!({ "registryType": "npm", "identifier": "x", "version": "1.0.0", "transport": { "type": "sse" } }),
        json!({ "registryType": "npm", "identifier": "x", "version": "1.0.0", "transport": stdio, "runtimeHint": "bash" }),
        json!({ "registryType": "npm", "identifier": "--eval", "version": "1.0.0", "transport": stdio }),
        json!({ "registryType": "npm", "identifier": "a b", "version": "1.0.0", "transport": stdio }),
    ] {
        assert_eq!(
            server_json(asked(&odd(package.clone()), json!({}))).unwrap_err().kind(),
            ErrorKind::InvalidParams,
            "{package}"
        );
    }
    for file in [
        json!({}),
        json!([]),
        json!({ "name": "x/y", "version": "1" }),
        json!({ "name": "/", "version": "1", "remotes": [] }),
    ] {
        assert!(server_json(asked(&file, json!({}))).is_err(), "{file}");
    }
}
