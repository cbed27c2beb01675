//! Items that a caller may not use are invisible to it, and by their exact names as unknown as items that never were.

use std::sync::Arc;

use serde_json::json;

use super::super::fake::{Fake, House, caller};
use crate::error::ErrorKind;
use crate::gateway::Caller;
use crate::model::{
    CapabilityKind, Configuration, Grant, Patch, Principal, Restriction, Role, Server, TenantId,
};
use crate::registry::Filter;

fn who(role: Role) -> Principal {
    Principal::new(TenantId::default_tenant(), format!("user:{}", role.as_str()), role)
}

async fn restrict(house: &House, server: &Arc<Server>, access: Restriction) {
    let configuration = Configuration { access: vec![access], ..Configuration::default() };
    let patch = Patch { configuration: Some(configuration), ..Patch::default() };
    house.gateway.update(&caller(), server.id, patch, None).await.unwrap();
}

/// A service `pay` whose tool `refund` is for managers, and a service `vault` that is for managers as a whole.
async fn house() -> (House, [Arc<Fake>; 2], [Arc<Server>; 2]) {
    let (house, pay, vault) = (House::open().await, Fake::new(&["charge", "refund"]), Fake::new(&["open"]));
    let servers = [house.add("pay", "pay", &pay).await, house.add("vault", "vault", &vault).await];
    let managers = Restriction { role: Some(Role::Manager), ..Restriction::default() };
    restrict(&house, &servers[0], Restriction { tools: vec!["ref*".into()], ..managers.clone() }).await;
    restrict(&house, &servers[1], managers).await;
    (house, [pay, vault], servers)
}

fn names(list: &serde_json::Value, member: &str) -> Vec<String> {
    let items = list["result"][member].as_array().unwrap();
    items.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
}

/// items that are hidden from a caller are missing from its lists, on the aggregated route and on that of the service.
#[tokio::test(start_paused = true)]
async fn lists_show_only_what_the_caller_may_use() {
    let (house, _fakes, _servers) = house().await;
    for (role, all, own) in [
        (Role::Analyst, vec!["pay__charge"], vec!["charge"]),
        (Role::Manager, vec!["pay__charge", "pay__refund", "vault__open"], vec!["charge", "refund"]),
        (Role::Admin, vec!["pay__charge", "pay__refund", "vault__open"], vec!["charge", "refund"]),
    ] {
        for (route, expected) in [("", all), ("pay", own)] {
            let client = house.client_of(who(role), route, json!({})).await;
            let list = client.request(1, "tools/list", json!({})).await;
            assert_eq!(names(&list[0], "tools"), expected, "{role:?} {route}");
        }
    }
}

/// called by its exact name it is refused exactly as an unknown one, at call time, and no server gets the call.
#[tokio::test(start_paused = true)]
async fn a_hidden_tool_cannot_be_told_from_one_that_does_not_exist() {
    let (house, fakes, _servers) = house().await;
    for (route, prefix) in [("", "pay__"), ("pay", "")] {
        let client = house.client_of(who(Role::Analyst), route, json!({})).await;
        let refused =
            |answer: Vec<serde_json::Value>, name: &str| answer[0].to_string().replace(name, "NAME");
        let hidden = refused(client.call(&format!("{prefix}refund")).await, "refund");
        let unknown = refused(client.call(&format!("{prefix}nothing")).await, "nothing");
        assert_eq!(hidden, unknown, "{route}");
        assert!(client.call(&format!("{prefix}charge")).await[0]["result"].is_object());
    }
    let client = house.client_of(who(Role::Analyst), "", json!({})).await;
    let hidden = client.call("vault__open").await[0].to_string().replace("vault__open", "NAME");
    let unknown = client.call("vaulx__open").await[0].to_string().replace("vaulx__open", "NAME");
    assert_eq!(hidden, unknown);
    let called: Vec<_> = fakes[0].received("tools/call");
    assert!(called.iter().all(|(_, message)| message["params"]["name"] == "charge"), "{called:?}");
    assert_eq!(fakes[1].count("tools/call"), 0);
}

/// a caller that saw a tool before cannot use it after the right was taken away, in the same session.
#[tokio::test(start_paused = true)]
async fn what_is_taken_away_is_refused_in_a_session_that_is_open() {
    let (house, fake) = (House::open().await, Fake::new(&["t"]));
    let server = house.add("a", "a", &fake).await;
    let client = house.client_of(who(Role::Analyst), "a", json!({})).await;
    assert!(client.call("t").await[0]["result"].is_object());
    restrict(&house, &server, Restriction { tools: vec!["t".into()], ..Restriction::default() }).await;
    assert!(client.call("t").await[0]["error"].is_string());
    assert_eq!(fake.count("tools/call"), 1);
}

/// search, discovery and the register know nothing of it either, and it does not count.
#[tokio::test(start_paused = true)]
async fn the_register_and_the_searches_keep_it_too() {
    let (house, _fakes, [pay, vault]) = house().await;
    let gateway = &house.gateway;
    let (analyst, manager) = (Caller::new(who(Role::Analyst)), Caller::new(who(Role::Manager)));
    let listed = |caller| gateway.list(caller, &Filter::default()).unwrap();
    assert_eq!((listed(&analyst).total, listed(&manager).total), (1, 2));
    assert_eq!(gateway.get(&analyst, vault.id).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(gateway.capabilities(&analyst, pay.id).unwrap().len(), 1);
    assert_eq!(gateway.stats(&analyst).unwrap().total_servers, 1);
    assert_eq!(gateway.metrics(&analyst).unwrap().len(), 1);
    assert_eq!(gateway.offered(&analyst, CapabilityKind::Tool).unwrap().len(), 1);
    for (name, seen) in [("charge", 1), ("refund", 0), ("open", 0)] {
        let found = |caller| gateway.find(caller, CapabilityKind::Tool, &[name.to_owned()]).unwrap().len();
        assert_eq!((found(&analyst), found(&manager)), (seen, 1), "{name}");
        let hits = |caller| gateway.search(caller, name, 10).unwrap().len();
        assert_eq!((hits(&analyst), hits(&manager)), (seen, 1), "{name}");
    }
    let removed = gateway.remove(&manager, vault.id, None).await;
    assert!(removed.is_ok());
}

/// a caller that may change a server may not thereby change the rights to use it.
#[tokio::test(start_paused = true)]
async fn only_an_administrator_lifts_a_restriction() {
    let (house, _fakes, [pay, _vault]) = house().await;
    let lifted = Patch { configuration: Some(Configuration::default()), ..Patch::default() };
    let developer = Caller::new(who(Role::Developer));
    let refused = house.gateway.update(&developer, pay.id, lifted.clone(), None).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
    let text = Patch { description: Some("new".into()), ..Patch::default() };
    assert!(house.gateway.update(&developer, pay.id, text, None).await.is_ok());
    assert!(house.gateway.update(&caller(), pay.id, lifted, None).await.is_ok());
}

/// a credential for one server or service sees no other.
#[tokio::test(start_paused = true)]
async fn a_credential_for_one_service_sees_no_other() {
    let (house, [_, vault], [pay, _]) = house().await;
    let key = Grant { server: Some(pay.id), ..Grant::default() };
    let client = house.client_of(who(Role::Admin).with(key), "", json!({})).await;
    let list = client.request(1, "tools/list", json!({})).await;
    assert_eq!(names(&list[0], "tools"), ["pay__charge", "pay__refund"]);
    assert!(client.call("vault__open").await[0]["error"].is_string());
    assert_eq!(vault.count("tools/call"), 0);
}
