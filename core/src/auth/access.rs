//! The restrictions of a principal, beyond its role: the rules of the configuration and those of each server together.
//!
//! A principal does not see what it may not use. Rules only take away, so a rule too many hides something and shows nothing.

use serde::{Deserialize, Serialize};

use crate::model::access::matches;
use crate::model::{CapabilityKind, Principal, Restriction, Role, Server, ServiceName, TenantId};

/// The section `access` of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Access {
    /// Restricts services, or some tools, resources and prompts of them, to some callers: `[[access.rules]]`. Rules only take
    /// away; each rule that names a thing must admit the caller. A caller does not see a thing that it may not use. Taken up
    /// while the gateway runs.
    #[cfg_attr(feature = "server", schema(value_type = Vec<Object>))]
    pub rules: Vec<Rule>,
}

/// A restriction of services, or of some of what they offer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Rule {
    /// The tenant whose services the rule restricts; every tenant without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(value_type = Option<String>))]
    pub tenant: Option<TenantId>,
    /// The service, in which `*` stands for any characters; every service without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Names of tools. A rule without any tool, resource or prompt restricts whole services.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<String>,
    /// URIs of resources and templates.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    /// Names of prompts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prompts: Vec<String>,
    /// Admits this role and those above it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(value_type = Option<String>))]
    pub role: Option<Role>,
    /// Admits these subjects, such as `user:ann` or `key:*`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subjects: Vec<String>,
}

impl Rule {
    fn restriction(&self) -> Restriction {
        let Self { tools, resources, prompts, role, subjects, .. } = self.clone();
        Restriction { tools, resources, prompts, role, subjects }
    }
}

/// The restrictions of one tenant.
#[derive(Clone, Debug, Default)]
pub struct Restrictions(Vec<RuleEntry>);

#[derive(Clone, Debug)]
struct RuleEntry {
    /// Pattern of the services that it is about.
    service: String,
    restriction: Restriction,
}

impl Restrictions {
    /// The restrictions of `access` and of the tenant's own servers. A server's restriction is about its whole service: replicas
    /// offer the same, and a call must not depend on which of them it meets.
    pub fn of<'a>(access: &Access, tenant: &TenantId, servers: impl Iterator<Item = &'a Server>) -> Self {
        let rules = access.rules.iter().filter(|rule| rule.tenant.as_ref().is_none_or(|own| own == tenant));
        let rules = rules.map(|rule| RuleEntry {
            service: rule.service.clone().unwrap_or_else(|| "*".to_owned()),
            restriction: rule.restriction(),
        });
        let own = servers.flat_map(|server| {
            let all = server.configuration.access.iter();
            all.map(|one| RuleEntry { service: server.service.to_string(), restriction: one.clone() })
        });
        Self(rules.chain(own).collect())
    }

    /// Whether nobody is restricted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The restrictions that deny something to `principal`.
    pub fn denied_to(&self, principal: &Principal) -> Denied<'_> {
        let denied = self.0.iter().enumerate().filter(|(_, entry)| !entry.restriction.admits(principal));
        Denied(denied.collect())
    }
}

/// The restrictions that deny something to one principal.
#[derive(Clone, Debug)]
pub struct Denied<'a>(Vec<(usize, &'a RuleEntry)>);

impl Denied<'_> {
    /// The restrictions that do not admit the principal: principals with the same ones see the same.
    pub fn class(&self) -> Box<[usize]> {
        self.0.iter().map(|(position, _)| *position).collect()
    }

    /// Whether nothing is denied.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the whole service is denied.
    pub fn service(&self, service: &ServiceName) -> bool {
        self.about(service).any(Restriction::is_whole)
    }

    /// Whether some of what the service offers is denied, or may be.
    pub fn partly(&self, service: &ServiceName) -> bool {
        self.about(service).next().is_some()
    }

    /// Whether the item, or the whole service, is denied.
    pub fn item(&self, service: &ServiceName, kind: CapabilityKind, name: &str) -> bool {
        self.named(service.as_str(), kind, name)
    }

    /// The same of what the embedding program offers itself, whose name need not be one that can be registered.
    pub fn named(&self, service: &str, kind: CapabilityKind, name: &str) -> bool {
        self.concerning(service).any(|one| one.is_whole() || one.is_about(kind, name))
    }

    /// The restrictions that deny something of the service.
    pub fn about(&self, service: &ServiceName) -> impl Iterator<Item = &Restriction> {
        self.concerning(service.as_str())
    }

    fn concerning(&self, service: &str) -> impl Iterator<Item = &Restriction> {
        let about = self.0.iter().filter(move |(_, entry)| matches(&entry.service, service));
        about.map(|(_, entry)| &entry.restriction)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denied(rules: &[Rule], role: Role) -> Restrictions {
        let access = Access { rules: rules.to_vec() };
        let all = Restrictions::of(&access, &TenantId::default_tenant(), std::iter::empty());
        let who = Principal::new(TenantId::default_tenant(), "user:a", role);
        let class = all.denied_to(&who).class();
        Restrictions(class.iter().map(|position| all.0[*position].clone()).collect())
    }

    #[test]
    fn more_rules_never_show_more() {
        let service: ServiceName = "pay".parse().unwrap();
        let managers = Rule { service: Some("pay".into()), role: Some(Role::Manager), ..Rule::default() };
        let all = Rule { role: Some(Role::Guest), ..Rule::default() };
        let who = Principal::new(TenantId::default_tenant(), "user:a", Role::Analyst);
        for rules in [vec![managers.clone()], vec![managers.clone(), all.clone()], vec![all, managers]] {
            assert!(denied(&rules, Role::Analyst).denied_to(&who).service(&service), "{rules:?}");
            assert!(denied(&rules, Role::Manager).is_empty(), "{rules:?}");
        }
    }

    #[test]
    fn a_rule_of_another_tenant_says_nothing() {
        let rule = Rule { tenant: Some("other".parse().unwrap()), ..Rule::default() };
        assert!(denied(&[rule], Role::Guest).is_empty());
    }

    #[test]
    fn a_rule_with_names_leaves_the_rest_of_the_service() {
        let service: ServiceName = "pay".parse().unwrap();
        let rule = Rule { tools: vec!["refund*".into()], role: Some(Role::Manager), ..Rule::default() };
        let all = denied(&[rule], Role::Analyst);
        let who = Principal::new(TenantId::default_tenant(), "user:a", Role::Analyst);
        let denied = all.denied_to(&who);
        assert!(!denied.service(&service) && denied.partly(&service));
        assert!(denied.item(&service, CapabilityKind::Tool, "refund_all"));
        assert!(!denied.item(&service, CapabilityKind::Tool, "pay"));
        assert!(!denied.item(&service, CapabilityKind::Prompt, "refund_all"));
    }
}
