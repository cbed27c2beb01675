//! Files of other gateways, and of programs that serve many users.

use super::*;

#[test]
fn libre_chat() {
    let import = named(
        "version: 1.2.8\ncache: true\ninterface: {}\nmcpServers:\n  everything:\n    # type: sse\n    url: http://localhost:3001/sse\n    type: sse\n    timeout: 60000\n  \
         files:\n    type: stdio\n    command: npx\n    args: [-y, server-filesystem, /data]\n    env:\n      PORT: 8080\n      KEY: ${TOKEN}\n  \
         user:\n    type: streamable-http\n    url: https://h/mcp\n    headers:\n      X-User: '{{LIBRECHAT_USER_ID}}'\n",
    );
    assert_eq!((import.format, names(&import)), (Format::LibreChat, vec!["everything", "files"]));
    let files = find(&import, "files");
    assert_eq!((files.env["PORT"].as_str(), files.env["KEY"].as_str()), ("8080", "canary-of-a-token"));
    assert_eq!(find(&import, "everything").transport_type, Some(TransportType::Sse));
    assert!(
        reasons(&import).contains("\"user\" cannot be imported: `headers` has a `{{…}}`"),
        "{}",
        reasons(&import)
    );
}

#[test]
fn docker_catalogs_and_profiles() {
    let catalog = "version: 3\nname: docker-mcp\nregistry:\n  github-official:\n    description: GitHub\n    title: GitHub Official\n    type: server\n    \
         image: ghcr.io/github/server@sha256:abc\n    secrets:\n      - name: github.token\n        env: GITHUB_PERSONAL_ACCESS_TOKEN\n    command: [stdio]\n  \
         linear:\n    type: remote\n    remote:\n      transport_type: streamable-http\n      url: https://mcp.linear.app/mcp\n    oauth: {providers: [{provider: linear}]}\n  \
         old:\n    sseEndpoint: https://gitmcp.io/moby/moby\n  files:\n    type: server\n    image: mcp/filesystem\n    volumes: ['{{filesystem.paths|volume|into}}']\n  \
         tool:\n    type: poci\n  ref:\n    ref: ''\n";
    let import = named(catalog);
    assert_eq!((import.format, names(&import)), (Format::Docker, vec!["github-official", "linear", "old"]));
    let github = find(&import, "github-official");
    assert_eq!(
        github.args.join(" "),
        "run -i --rm --init -e GITHUB_PERSONAL_ACCESS_TOKEN ghcr.io/github/server@sha256:abc stdio"
    );
    assert_eq!(github.env["GITHUB_PERSONAL_ACCESS_TOKEN"], "canary-of-a-token");
    assert_eq!(github.display_name.as_deref(), Some("GitHub Official"));
    assert_eq!(find(&import, "linear").transport_type, Some(TransportType::Http));
    assert_eq!(find(&import, "old").transport_type, Some(TransportType::Sse));
    assert!(notes(&import).contains("credentials login"), "{}", notes(&import));
    for part in ["\"files\" cannot be imported: `{{filesystem.paths}}`", "\"tool\"", "\"ref\""] {
        assert!(reasons(&import).contains(part), "{part} in {}", reasons(&import));
    }
    let profile = "version: 1\nid: mine\nname: Mine\nservers:\n  - type: image\n    image: mcp/files:1.0\n    config: {paths: [/a, /b], mode: fast}\n    tools: [read]\n    snapshot:\n      \
         server:\n        name: files\n        type: server\n        image: mcp/files:1.0\n        env: [{name: MODE, value: '{{files.mode}}'}]\n        volumes: ['{{files.paths|volume|into}}']\n  \
         - type: image\n    image: docker.io/acme/plain@sha256:00\n  - type: registry\n    source: https://registry.modelcontextprotocol.io/v0/servers/x\n";
    let import = named(profile);
    assert_eq!((import.format, names(&import)), (Format::Docker, vec!["files", "plain"]));
    let files = find(&import, "files");
    assert_eq!(files.args.join(" "), "run -i --rm --init -e MODE -v /a:/a -v /b:/b mcp/files:1.0");
    assert_eq!(files.env["MODE"], "fast");
    assert!(reasons(&import).contains("--server-json"), "{}", reasons(&import));
}

#[test]
fn agentgateway() {
    let import = named(
        "# yaml-language-server: $schema=x\nbinds:\n- port: 3000\n  listeners:\n  - routes:\n    - policies: {cors: {allowOrigins: ['*']}}\n      backends:\n      - mcp:\n          targets:\n          \
         - name: everything\n            stdio:\n              cmd: npx\n              args: ['@modelcontextprotocol/server-everything']\n              env: {KEY: $TOKEN}\n          \
         - name: remote\n            mcp:\n              host: https://mcp.example/mcp\n          - name: parts\n            sse: {host: localhost, port: 9000, path: /sse}\n          \
         - name: pets\n            openapi: {host: localhost}\n    - backends:\n      - mcp:\n          targets:\n          - name: second\n            mcp: {host: localhost, port: 443}\n",
    );
    assert_eq!(
        (import.format, names(&import)),
        (Format::AgentGateway, vec!["everything", "remote", "parts", "second"])
    );
    assert_eq!(find(&import, "everything").env["KEY"], "canary-of-a-token");
    let urls: Vec<_> =
        import.registrations[1..].iter().map(|one| one.endpoint_url.as_deref().unwrap()).collect();
    assert_eq!(urls, ["https://mcp.example/mcp", "http://localhost:9000/sse", "https://localhost:443/mcp"]);
    assert_eq!(find(&import, "parts").transport_type, Some(TransportType::Sse));
    assert!(reasons(&import).contains("openapi"));
    assert_eq!(names(&named("mcp:\n  port: 3000\n  targets:\n  - name: a\n    stdio: {cmd: x}\n")), ["a"]);
}

#[test]
fn context_forge() {
    let import = named(
        r#"{"version": "2025-03-26", "exported_at": "2026-01-01T00:00:00Z", "exported_by": "admin", "source_gateway": "http://h:4444",
            "encryption_method": "AES-256-GCM", "entities": {"tools": [{"name": "t"}], "gateways": [
                {"name": "peer", "url": "https://peer.example/sse", "transport": "SSE", "description": "d", "capabilities": {"tools": {}},
                 "health_check": {"url": "x", "retries": 3}, "is_active": true, "tags": ["a", {"id": "b", "label": "B"}], "auth_type": "bearer", "auth_value": "sealed"},
                {"name": "off", "url": "https://off.example/mcp", "transport": "STREAMABLEHTTP", "is_active": false, "tags": []}
            ]}, "metadata": {"entity_counts": {"gateways": 2}}}"#,
    );
    assert_eq!((import.format, names(&import)), (Format::ContextForge, vec!["peer", "off"]));
    let peer = find(&import, "peer");
    assert_eq!(
        (peer.transport_type, peer.tags.as_slice()),
        (Some(TransportType::Sse), ["a", "b"].map(str::to_owned).as_slice())
    );
    assert_eq!(
        (find(&import, "off").transport_type, find(&import, "off").status),
        (Some(TransportType::Http), Some(Status::Inactive))
    );
    assert!(
        notes(&import).contains("credentials set") && !notes(&import).contains("sealed\""),
        "{}",
        notes(&import)
    );
}
