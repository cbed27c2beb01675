use std::fmt::Write as _;

use super::*;
use crate::error::Cause;
use crate::model::{Grant, Principal, TenantId};

fn principal(role: Role) -> Principal {
    Principal::new(TenantId::default_tenant(), "user:a", role)
}

fn code(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" ")
}

/// The page of documentation that the matrix makes.
fn page() -> String {
    let file = File::parse(TEXT).unwrap();
    let table: toml::Table = TEXT.parse().unwrap();
    let what = |section: &str, name: &str| table[section][name]["what"].as_str().unwrap().to_owned();
    let mut out = String::from(
        "# Who may do what\n\nMade from `src/auth/permissions.toml`, which the code reads; a test fails when this page differs \
         from it.\nA refusal is 403 `PERMISSION_DENIED`; one for want of scopes names all that are needed.\nWhile no authentication is \
         configured, a process of this machine is an administrator, and shows the local token for what needs it (SECURITY.md).\n\n\
         ## Operations\n",
    );
    let roles: Vec<_> = file.roles.iter().map(|role| role.as_str()).collect();
    writeln!(out, "| operation | what | {} | scopes | local token |", roles.join(" | ")).unwrap();
    writeln!(out, "|---|---|{}---|---|", "---|".repeat(roles.len())).unwrap();
    for (name, text) in &file.operations {
        let mark = |role: &Role| if *role <= text.least { "yes" } else { "–" };
        let marks: Vec<_> = file.roles.iter().map(mark).collect();
        let (marks, scopes) = (marks.join(" | "), code(&text.scopes));
        let token = if text.local_token { "needed" } else { "" };
        writeln!(out, "| `{name}` | {} | {marks} | {scopes} | {token} |", what("operations", name)).unwrap();
    }
    out.push_str("\n## Scopes\n| scope | what | implies |\n|---|---|---|\n");
    for (scope, text) in &file.scopes {
        writeln!(out, "| `{scope}` | {} | {} |", what("scopes", scope), code(&text.implies)).unwrap();
    }
    out.push_str("\n## Routes\n| route | operation |\n|---|---|\n");
    for (route, name) in &file.routes {
        writeln!(out, "| `{route}` | `{name}` |").unwrap();
    }
    out
}

/// the documented table and the one that decides are the same.
#[test]
fn the_documentation_has_the_matrix_that_the_code_has() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/PERMISSIONS.md");
    let made = page();
    if std::fs::read_to_string(path).unwrap_or_default() != made {
        let beside = std::env::temp_dir().join("PERMISSIONS.md");
        std::fs::write(&beside, made).unwrap();
        panic!("core/PERMISSIONS.md differs from the matrix; what it should be is in {}", beside.display());
    }
}

#[test]
fn the_matrix_and_the_program_know_the_same_operations() {
    let file = File::parse(TEXT).unwrap();
    let known: BTreeSet<_> = Operation::ALL.iter().map(|operation| operation.as_str()).collect();
    let written: BTreeSet<_> = file.operations.keys().map(String::as_str).collect();
    assert_eq!(known, written);
    let scopes: BTreeSet<_> = file.scopes.keys().collect();
    let used = file.operations.values().flat_map(|text| &text.scopes);
    assert!(
        used.chain(file.scopes.values().flat_map(|text| &text.implies)).all(|scope| scopes.contains(scope))
    );
    for (route, gate) in &file.routes {
        assert!(Gate::named(gate).is_some(), "{route} names no operation: {gate}");
    }
}

/// each role may do what the file says, and nothing else.
#[test]
fn each_role_may_do_what_the_file_says_and_nothing_else() {
    let file = File::parse(TEXT).unwrap();
    for role in Role::ALL {
        for operation in Operation::ALL {
            let least = file.operations[operation.as_str()].least;
            let answer = principal(role).may(*operation);
            assert_eq!(answer.is_ok(), role <= least, "{role:?} {operation:?}");
            if let Err(error) = answer {
                assert_eq!(error.kind(), ErrorKind::PermissionDenied);
            }
        }
    }
}

/// a loopback address alone names no command, sets no credential and makes no key, whatever the door.
#[test]
fn a_loopback_address_alone_is_not_enough_for_what_needs_the_local_token() {
    let loopback = Principal::unproven(TenantId::default_tenant(), "read the file");
    let refused = Operation::ALL.iter().filter(|operation| loopback.may(**operation).is_err());
    let refused: Vec<_> = refused.map(|operation| operation.as_str()).collect();
    let expected =
        ["servers.command", "credentials.write", "credentials.own", "credentials.others", "keys.write"];
    assert_eq!(refused, expected);
    let error = loopback.may(Operation::ServersCommand).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    for told in ["local token", "read the file", "auth.api_keys = true"] {
        assert!(error.message().contains(told), "{error}");
    }
    let operator = Principal::local(TenantId::default_tenant());
    assert!(Operation::ALL.iter().all(|operation| operator.may(*operation).is_ok()));
}

/// a matrix that is empty, or that cannot be read, has no row for anything.
#[test]
fn a_matrix_that_cannot_be_read_lets_nobody_do_anything() {
    for text in ["", "roles = []", "roles = [\"guest\"]\n[scopes]\n[operations]\n[routes]\n", "{"] {
        assert!(Matrix::parse(text).is_err(), "{text:?}");
    }
    let none = Matrix::default();
    assert!(Operation::ALL.iter().all(|operation| none.row(*operation).is_none()));
}

/// a broader scope implies narrower ones, through as many steps as there are.
#[test]
fn a_broader_scope_implies_narrower_ones() {
    assert!(MATRIX.implies("admin", "mcp:read"));
    assert!(MATRIX.implies("mcp:call", "mcp:read"));
    assert!(!MATRIX.implies("mcp:read", "mcp:call"));
    assert!(!MATRIX.implies("unknown", "mcp:read"));
}

/// whoever lacks scopes is told all that are needed at once.
#[test]
fn a_refusal_for_want_of_scopes_names_all_that_are_needed() {
    assert!(Operation::ToolsCall.covered_by(&["registry:read", "admin"]).is_ok());
    assert!(Operation::McpConnect.covered_by(&[""; 0]).is_ok());
    let error = Operation::ServersRegister.covered_by(&["mcp:call"]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    let needed = Operation::ServersRegister.scopes().join(" ");
    assert_eq!(error.cause(), &Cause::InsufficientScope(needed));
}

/// a credential with scopes may no more than they allow, whatever the role of whom it stands for.
#[test]
fn scopes_narrow_what_a_role_may() {
    let scopes = Some(Box::from([Box::from("registry:read")]));
    let narrowed = principal(Role::Admin).with(Grant { scopes, ..Grant::default() });
    assert!(narrowed.may(Operation::ServersRead).is_ok());
    let error = narrowed.may(Operation::ServersRegister).unwrap_err();
    assert!(matches!(error.cause(), Cause::InsufficientScope(_)), "{error}");
    let nothing = principal(Role::Admin).with(Grant { scopes: Some(Box::default()), ..Grant::default() });
    assert!(nothing.may(Operation::McpList).is_err() && nothing.may(Operation::McpConnect).is_ok());
}
