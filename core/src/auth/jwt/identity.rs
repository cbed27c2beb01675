//! From verified claims to a principal: the issuer's own rules, then tenant, roles and scopes as configured.

use serde_json::{Map, Value};

use super::issuer::{Issuer, Preset};
use crate::auth::matrix::MATRIX;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Grant, Principal, Role, TenantId};

/// Longest subject of an issuer, in bytes (OpenID Connect Core 1.0 section 2).
const MAX_SUBJECT: usize = 255;

/// The principal that the claims of a token name. The signature, the issuer, the audience and the times hold already.
pub(in crate::auth) fn principal(
    issuer: &Issuer,
    claims: &Map<String, Value>,
    grant: Grant,
) -> Result<Principal> {
    let subject = match issuer.preset {
        Preset::Entra => entra(issuer, claims)?,
        Preset::Google => google(issuer, claims)?,
        Preset::Github => github(issuer, claims)?,
        Preset::GithubUsers => github_user(issuer, claims)?,
        Preset::Oidc | Preset::BetterAuth => text(claims, "sub")?.to_owned(),
    };
    if subject.is_empty() || subject.len() > MAX_SUBJECT || subject.chars().any(char::is_control) {
        return Err(super::refused("the token's subject is empty, too long, or not plain text"));
    }
    let (tenant, role) = (tenant(issuer, claims)?, role(issuer, claims)?);
    let scopes = scopes(issuer, claims)?;
    let name = format!("user:{}:{subject}", issuer.name);
    Ok(Principal::new(tenant, name, role).with(Grant { scopes, ..grant }))
}

/// A user of Entra is its directory and its object id; names and addresses change hands.
fn entra(issuer: &Issuer, claims: &Map<String, Value>) -> Result<String> {
    let (tid, iss) = (text(claims, "tid")?, text(claims, "iss")?);
    if !issuer.directories.iter().any(|directory| directory == tid) {
        return Err(super::refused("the token is from a directory that is not let in"));
    }
    if !issuers_of(tid).iter().any(|own| own == iss) {
        return Err(super::refused("the token's `tid` is not that of its issuer"));
    }
    let is_own = |idp: &Value| idp.as_str().is_some_and(|idp| issuers_of(tid).iter().any(|own| own == idp));
    let from_elsewhere = claims.get("idp").is_some_and(|idp| !is_own(idp));
    if !issuer.guests && (from_elsewhere || claims.get("acct").is_some_and(|acct| !is_zero(acct))) {
        return Err(denied("guests of this directory are not let in; `guests = true` lets them"));
    }
    Ok(format!("{tid}:{}", plain(claims, "oid")?))
}

/// The issuers of one directory of Entra: of version 2 and version 1 tokens.
pub(super) fn issuers_of(directory: &str) -> [String; 2] {
    [
        format!("https://login.microsoftonline.com/{directory}/v2.0"),
        format!("https://sts.windows.net/{directory}/"),
    ]
}

/// A user of Google is a number; the domain counts only of an account that belongs to a Workspace and whose address is verified.
fn google(issuer: &Issuer, claims: &Map<String, Value>) -> Result<String> {
    // Of these tokens, each is for one client alone; one for several lets each of them pass it on.
    if !claims.get("aud").is_some_and(Value::is_string) {
        return Err(super::refused("the token is for several clients at once"));
    }
    let domain = claims.get("hd").and_then(Value::as_str).unwrap_or_default();
    if domain.is_empty() || !issuer.directories.iter().any(|directory| directory == domain) {
        return Err(super::refused("the token is from a domain that is not let in"));
    }
    if claims.get("email_verified") != Some(&Value::Bool(true)) {
        return Err(denied("the address of this account is not verified"));
    }
    Ok(plain(claims, "sub")?.to_owned())
}

/// A run on GitHub is that of an account in a repository of an owner, each by its number: names can be given up and taken by others.
fn github(issuer: &Issuer, claims: &Map<String, Value>) -> Result<String> {
    let owner = number(claims, "repository_owner_id")?;
    if !issuer.directories.iter().any(|directory| directory == owner) {
        return Err(super::refused("the token is from an owner that is not let in"));
    }
    Ok(format!("{owner}:{}:{}", number(claims, "repository_id")?, number(claims, "actor_id")?))
}

/// A person on GitHub is a number, and let in by it or by that of an organization.
fn github_user(issuer: &Issuer, claims: &Map<String, Value>) -> Result<String> {
    let id = number(claims, "id")?;
    let mut theirs = names(claims, "orgs").into_iter().chain([id]);
    if !theirs.any(|one| issuer.directories.iter().any(|directory| directory == one)) {
        return Err(denied(
            "neither this account nor an organization that the token shows is let in; a token shows them with the scope `read:org`",
        ));
    }
    Ok(id.to_owned())
}

fn number<'a>(claims: &'a Map<String, Value>, name: &'static str) -> Result<&'a str> {
    let digits = |text: &&str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    Some(text(claims, name)?)
        .filter(digits)
        .ok_or_else(|| super::refused("a claim that must be a number is none").with("claim", name))
}

/// The one tenant that the claims name. There is no other to fall back on.
fn tenant(issuer: &Issuer, claims: &Map<String, Value>) -> Result<TenantId> {
    let Some(path) = &issuer.tenant_claim else {
        return Ok(issuer.tenant.clone().unwrap_or_else(TenantId::default_tenant));
    };
    let named: Vec<&str> = names(claims, path);
    let [name] = named[..] else {
        return Err(denied("the token names no tenant, or more than one").with("claim", path));
    };
    TenantId::new(name).map_err(|_| denied("the token names something that is no tenant").with("claim", path))
}

fn role(issuer: &Issuer, claims: &Map<String, Value>) -> Result<Role> {
    let paths = issuer.roles_claims();
    let named = paths.iter().flat_map(|path| names(claims, path));
    if let Some(role) = named.filter_map(|name| issuer.roles.get(name)).min() {
        return Ok(*role);
    }
    // With more groups than fit into a token Entra leaves all of them out, and says so.
    let left_out = claims.get("hasgroups").is_some_and(|has| *has == Value::Bool(true))
        || claims.get("_claim_names").and_then(|names| names.get("groups")).is_some();
    if left_out && !issuer.roles.is_empty() {
        return Err(denied(
            "this user has more groups than fit into a token; give roles by app roles instead",
        ));
    }
    issuer.role.ok_or_else(|| denied("this user has no role here; ask an administrator"))
}

fn scopes(issuer: &Issuer, claims: &Map<String, Value>) -> Result<Option<Box<[Box<str>]>>> {
    let Some(path) = issuer.scopes_claim() else { return Ok(None) };
    let found = match at(claims, path) {
        None => return Ok(None),
        Some(Value::String(text)) => text.split(' ').collect(),
        Some(Value::Array(_)) => names(claims, path),
        Some(_) => return Err(super::refused("the token's scopes are neither text nor a list")),
    };
    Ok(Some(found.into_iter().filter(|scope| MATRIX.implies(scope, scope)).map(Into::into).collect()))
}

/// The texts at `path`: one, or those of a list.
fn names<'a>(claims: &'a Map<String, Value>, path: &str) -> Vec<&'a str> {
    match at(claims, path) {
        Some(Value::String(text)) => vec![text],
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// The claim of this name; else, if the name has dots, the claim within claims. Names of claims may be URLs.
fn at<'a>(claims: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    if let Some(claim) = claims.get(path) {
        return Some(claim);
    }
    let (first, rest) = path.split_once('.')?;
    rest.split('.').try_fold(claims.get(first)?, |claim, name| claim.get(name))
}

fn text<'a>(claims: &'a Map<String, Value>, name: &'static str) -> Result<&'a str> {
    let found = claims.get(name).and_then(Value::as_str);
    found.ok_or_else(|| super::refused("a claim that the token must have is missing").with("claim", name))
}

/// A claim that is one half of a name: neither empty nor divided as names are.
fn plain<'a>(claims: &'a Map<String, Value>, name: &'static str) -> Result<&'a str> {
    let is_plain = |text: &&str| !text.is_empty() && !text.contains(|c: char| c == ':' || c.is_whitespace());
    let found = Some(text(claims, name)?).filter(is_plain);
    found.ok_or_else(|| super::refused("a claim that must be an id is none").with("claim", name))
}

fn is_zero(value: &Value) -> bool {
    value.as_i64() == Some(0) || value.as_str() == Some("0")
}

fn denied(message: &'static str) -> Error {
    Error::new(ErrorKind::PermissionDenied, message)
}
