//! Servers behind TLS: believed if an authority that the gateway was told of signed for them, and refused otherwise.

use std::time::Duration;

use mcp_registry_gateway_tests::clock::eventually;
use mcp_registry_gateway_tests::fake::Fake;
use mcp_registry_gateway_tests::process::{Gateway, Options};
use mcp_registry_gateway_tests::tls::{Authority, self_signed};
use serde_json::{Value, json};

#[tokio::test]
async fn a_server_is_believed_whose_authority_stands_in_its_ca_file() {
    let (gateway, authority, folder) =
        (Gateway::start().await, Authority::new(), tempfile::tempdir().expect("a folder"));
    let fake = Fake::start_tls("safe", authority.acceptor("127.0.0.1")).await;
    let configuration = json!({ "ca_file": authority.file(folder.path()) });
    let server = json!({ "name": "safe", "endpoint_url": fake.url(), "configuration": configuration });
    let id = gateway.register(&server).await["id"].as_str().expect("an id").to_owned();
    gateway.offers(&id, "echo").await;
    let client = gateway.client("/mcp/safe").await;
    assert_eq!(
        client.call("echo", json!({ "text": "under TLS" })).await.expect("an answer").text(),
        "under TLS"
    );
}

#[tokio::test]
async fn what_the_machine_trusts_is_believed_without_a_ca_file() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().expect("a folder"));
    let machine = authority.file(folder.path()).display().to_string();
    let options = Options { env: vec![("SSL_CERT_FILE", machine)], ..Options::default() };
    let gateway = Gateway::start_with(options).await;
    let fake = Fake::start_tls("safe", authority.acceptor("127.0.0.1")).await;
    gateway.adopt("safe", "safe", &fake.url()).await;
}

/// What the health check says of a server; nothing of a call may have reached it.
async fn refused(fake: &Fake, configuration: Value) -> String {
    let gateway = Gateway::start().await;
    let server = json!({ "name": "doubtful", "endpoint_url": fake.url(), "configuration": configuration });
    let id = gateway.register(&server).await["id"].as_str().expect("an id").to_owned();
    let path = format!("/api/v1/servers/{id}/health");
    let said = eventually("the probe", Duration::from_secs(10), async || {
        let (_, body) = gateway.http().get(&path).await.ok()?;
        body["history"][0]["error"].as_str().map(str::to_owned)
    })
    .await;
    assert!(said.contains("cause: configuration"), "{said}");
    assert_eq!(fake.ledger().all().len(), 0, "nothing is sent to whom the gateway does not believe");
    said
}

#[tokio::test]
async fn a_server_that_signed_for_itself_is_refused_and_the_message_says_what_to_do() {
    let fake = Fake::start_tls("doubtful", self_signed("127.0.0.1")).await;
    let said = refused(&fake, json!({})).await;
    assert!(said.contains("signed by nobody") && said.contains("configuration.ca_file"), "{said}");
}

#[tokio::test]
async fn a_certificate_of_another_authority_for_another_host_or_of_another_time_is_refused() {
    let (ours, theirs, folder) = (Authority::new(), Authority::new(), tempfile::tempdir().expect("a folder"));
    let configuration = json!({ "ca_file": ours.file(folder.path()) });
    let foreign = Fake::start_tls("doubtful", theirs.acceptor("127.0.0.1")).await;
    let said = refused(&foreign, configuration.clone()).await;
    assert!(said.contains("signed by nobody"), "{said}");
    let elsewhere = Fake::start_tls("doubtful", ours.acceptor("elsewhere.example")).await;
    let said = refused(&elsewhere, configuration.clone()).await;
    assert!(said.contains("for another host"), "{said}");
    let expired = Fake::start_tls("doubtful", ours.expired("127.0.0.1")).await;
    let said = refused(&expired, configuration).await;
    assert!(said.contains("has expired"), "{said}");
}

#[tokio::test]
async fn a_ca_file_that_is_not_there_or_is_none_is_named() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().expect("a folder"));
    let fake = Fake::start_tls("doubtful", authority.acceptor("127.0.0.1")).await;
    let path = folder.path().join("ca.pem");
    let said = refused(&fake, json!({ "ca_file": path })).await;
    assert!(said.contains("cannot be read") && said.contains("ca.pem"), "{said}");
    std::fs::write(&path, "not PEM").expect("a file");
    let said = refused(&fake, json!({ "ca_file": path })).await;
    assert!(said.contains("no certificate") && said.contains("ca.pem"), "{said}");
}
