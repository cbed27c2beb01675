use super::*;
use crate::error::Cause;
use crate::model::{Grant, Principal, TenantId};

fn principal(role: Role) -> Principal {
    Principal::new(TenantId::default_tenant(), "user:a", role)
}

#[test]
fn the_matrix_and_the_program_know_the_same_operations() {
    let file = MatrixFile::parse(PERMISSIONS).unwrap();
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
    let file = MatrixFile::parse(PERMISSIONS).unwrap();
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

/// a loopback address alone names no command, sets no credential and makes no key, whatever the entry point.
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

/// a caller that lacks scopes is told all that are needed at once.
#[test]
fn a_refusal_for_want_of_scopes_names_all_that_are_needed() {
    assert!(Operation::ToolsCall.covered_by(&["registry:read", "admin"]).is_ok());
    assert!(Operation::McpConnect.covered_by(&[""; 0]).is_ok());
    let error = Operation::ServersRegister.covered_by(&["mcp:call"]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    let needed = Operation::ServersRegister.scopes().join(" ");
    assert_eq!(error.cause(), &Cause::InsufficientScope(needed));
}

/// a credential with scopes may no more than they allow, whatever the role of its principal.
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
