//! `[[auth.issuers]]`: the issuers of accepted tokens, and the meaning of their claims here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::auth::vault::Secret;
use crate::model::{Role, TenantId};

/// Providers with known conventions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// Any issuer of OpenID Connect or OAuth that signs its tokens.
    #[default]
    Oidc,
    /// Microsoft Entra ID. `directories` are the ids of those whose members are let in.
    Entra,
    /// Google. `directories` are the domains of those Workspaces whose members are let in.
    Google,
    /// GitHub, as it signs tokens for the runs of its Actions. `directories` are the numeric ids of the owners (accounts or
    /// organizations) whose runs are let in.
    Github,
    /// People on GitHub, by the opaque tokens that it gives to them and to apps that act for them. `directories` are the numeric
    /// ids of the accounts that are let in, and of the organizations whose members are; `issuer` is the interface of an
    /// Enterprise Server (`https://HOST/api/v3`), if it is not github.com.
    GithubUsers,
    /// A Better-Auth server with its JWT plugin; `issuer` is its base URL.
    BetterAuth,
}

/// One issuer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Issuer {
    /// The issuer's name here, and part of its users' names: `user:NAME:…`. A changed name makes other users of them.
    pub name: String,
    /// The issuer's product: `oidc`, `entra`, `google`, `github` (Actions), `github_users` (people), `better_auth`.
    #[cfg_attr(feature = "server", schema(value_type = String))]
    pub preset: Preset,
    /// The claim `iss` of its tokens. Entra and Google have their own; Better-Auth: its base URL; `github_users`:
    /// `https://HOST/api/v3` of an Enterprise Server.
    pub issuer: Option<String>,
    /// The URL of its keys. Without it, the issuer's metadata names it.
    pub jwks_url: Option<String>,
    /// Values of the claim `aud` that are taken besides the gateway's own URL.
    pub audience: Vec<String>,
    /// The directories whose members are let in: ids of Entra, domains of Google, numeric ids of GitHub's accounts and
    /// organizations.
    pub directories: Vec<String>,
    /// Lets in guests of those directories.
    pub guests: bool,
    /// The tenant of all its users.
    #[cfg_attr(feature = "server", schema(value_type = Option<String>))]
    pub tenant: Option<TenantId>,
    /// The claim that names the user's tenant, dotted for one within another.
    pub tenant_claim: Option<String>,
    /// The role of users whose claims give them none. Without it they are refused.
    #[cfg_attr(feature = "server", schema(value_type = Option<String>))]
    pub role: Option<Role>,
    /// Claims with names of roles or groups, dotted for one within another.
    pub roles_claims: Option<Vec<String>>,
    /// The gateway's role for each of those names.
    #[cfg_attr(feature = "server", schema(value_type = Object))]
    pub roles: BTreeMap<String, Role>,
    /// The app whose tokens are taken (`github_users`); tokens for other apps are refused.
    pub client_id: Option<String>,
    /// The app's secret, with which the gateway asks GitHub about a token. Better in the environment than in a file.
    #[cfg_attr(feature = "server", schema(value_type = Option<String>))]
    pub client_secret: Option<Secret>,
    /// Takes people's personal tokens, too (`github_users`). Such a token is not meant for any app in particular.
    pub personal_tokens: bool,
    /// The claim with the scopes; empty to pass over scopes.
    pub scopes_claim: Option<String>,
}

impl Issuer {
    /// Checks it; the error names the fault.
    pub(crate) fn check(&self, has_url: bool) -> Result<(), String> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if self.name.is_empty() || self.name.len() > 40 || !self.name.chars().all(plain) {
            return Err("`name` has 1 to 40 of a-z 0-9 -".into());
        }
        let say = |text: &str| Err(format!("issuer `{}`: {text}", self.name));
        match self.preset {
            Preset::Oidc | Preset::BetterAuth if self.issuer.is_none() => {
                return say("`issuer` is missing: the `iss` of its tokens");
            }
            Preset::Entra | Preset::Google | Preset::Github | Preset::GithubUsers
                if self.directories.is_empty() =>
            {
                return say("`directories` is missing: whoever has any account there would be let in");
            }
            Preset::Entra | Preset::Google | Preset::Github if self.issuer.is_some() => {
                return say("this preset has an `issuer` of its own");
            }
            Preset::Entra
                if !self
                    .directories
                    .iter()
                    .all(|id| uuid::Uuid::parse_str(id).is_ok_and(|uuid| uuid.to_string() == *id)) =>
            {
                return say("`directories` of Entra are ids in the form of a UUID, in lower case");
            }
            _ if self.directories.iter().any(|directory| directory.trim().is_empty()) => {
                return say("`directories` has an empty entry: accounts of no directory would be let in");
            }
            Preset::GithubUsers if self.client_id.is_some() != self.client_secret.is_some() => {
                return say("`client_id` and `client_secret` belong together");
            }
            Preset::GithubUsers if self.client_id.is_none() && !self.personal_tokens => {
                return say(
                    "set `client_id` and `client_secret` of the app whose tokens are taken, or `personal_tokens = true`",
                );
            }
            Preset::Github | Preset::GithubUsers
                if !self.directories.iter().all(|id| id.bytes().all(|c| c.is_ascii_digit())) =>
            {
                return say("`directories` of GitHub are numeric ids: names change hands");
            }
            _ => {}
        }
        let opaque = self.preset == Preset::GithubUsers;
        if !opaque && (self.client_id.is_some() || self.client_secret.is_some() || self.personal_tokens) {
            return say(
                "`client_id`, `client_secret` and `personal_tokens` belong to the preset `github_users`",
            );
        }
        if opaque && !(self.audience.is_empty() && self.jwks_url.is_none()) {
            return say(
                "its tokens are signed by nobody and name no audience; leave `audience` and `jwks_url` out",
            );
        }
        if self.audience.is_empty() && !has_url && !opaque {
            return say("its tokens must be meant for this gateway: set `auth.url`, or `audience`");
        }
        for url in self.issuer.iter().chain(&self.jwks_url) {
            if !Url::parse(url).is_ok_and(|url| is_safe(&url)) {
                return say("expected an URL with https (or with http, on this machine)");
            }
        }
        if self.tenant.is_some() && self.tenant_claim.is_some() {
            return say("`tenant` and `tenant_claim` exclude each other");
        }
        Ok(())
    }

    /// The servers where clients get tokens.
    pub(in crate::auth) fn servers(&self) -> Vec<String> {
        match self.preset {
            Preset::Entra => {
                self.directories.iter().map(|id| super::identity::issuers_of(id)[0].clone()).collect()
            }
            Preset::Google => vec!["https://accounts.google.com".to_owned()],
            // Nobody can ask it for a token but a run, or an app, which signs people in itself.
            Preset::Github | Preset::GithubUsers => Vec::new(),
            Preset::Oidc | Preset::BetterAuth => self.issuer.clone().into_iter().collect(),
        }
    }

    /// The claims in which names of roles and groups stand.
    pub(super) fn roles_claims(&self) -> Vec<String> {
        let own: &[&str] = match self.preset {
            Preset::Entra => &["roles", "groups"],
            Preset::Github => &["actor_id"],
            Preset::GithubUsers => &["id", "orgs"],
            _ => &["roles"],
        };
        self.roles_claims.clone().unwrap_or_else(|| own.iter().map(|claim| (*claim).to_owned()).collect())
    }

    /// The claim in which scopes stand, if any is looked at.
    pub(super) fn scopes_claim(&self) -> Option<&str> {
        let own = match self.preset {
            Preset::Oidc | Preset::BetterAuth => "scope",
            // Their scopes are those of their own interfaces.
            Preset::Entra | Preset::Google | Preset::Github | Preset::GithubUsers => "",
        };
        Some(self.scopes_claim.as_deref().unwrap_or(own)).filter(|claim| !claim.is_empty())
    }
}

/// Whether the URL is https or stays on this machine, so that nobody in between can put keys of their own into its answer.
pub(crate) fn is_safe(url: &Url) -> bool {
    let here = match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    };
    url.username().is_empty()
        && url.password().is_none()
        && (url.scheme() == "https" || (url.scheme() == "http" && here))
}
