//! Access to a server, beyond what the role allows.

use serde::{Deserialize, Serialize};

use super::capability::CapabilityKind;
use super::principal::{Principal, Role};

/// A restriction of a server, or of some of what it offers, to some principals.
///
/// It only ever takes away: items that several restrictions name are for principals whom each of them admits, and the role must
/// allow the operation besides. Administrators are never restricted. Names and subjects may have `*` for any number of
/// characters.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Restriction {
    /// Names of the tools that it is about. Without any tool, resource or prompt it is about the whole.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<String>,
    /// URIs of the resources, and of the templates of resources.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    /// Names of the prompts.
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

impl Restriction {
    /// Whether it is about everything, not about some names.
    pub fn is_whole(&self) -> bool {
        self.tools.is_empty() && self.resources.is_empty() && self.prompts.is_empty()
    }

    /// Whether it is about the item of this kind and name.
    pub fn is_about(&self, kind: CapabilityKind, name: &str) -> bool {
        let names = match kind {
            CapabilityKind::Tool => &self.tools,
            CapabilityKind::Prompt => &self.prompts,
            CapabilityKind::Resource | CapabilityKind::ResourceTemplate => &self.resources,
        };
        names.iter().any(|pattern| matches(pattern, name))
    }

    /// Whether it leaves its object to this principal.
    pub fn admits(&self, principal: &Principal) -> bool {
        principal.role == Role::Admin
            || self.role.is_some_and(|least| principal.role.includes(least))
            || self.subjects.iter().any(|pattern| matches(pattern, &principal.subject))
    }
}

/// Whether `text` matches `pattern`, in which `*` stands for any number of characters. Takes at most the product of both
/// lengths.
pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Where the last star stood, and how far the text had come then.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p, t));
            p += 1;
        } else if pattern.get(p) == Some(&text[t]) {
            p += 1;
            t += 1;
        } else if let Some((at, from)) = star {
            p = at + 1;
            t = from + 1;
            star = Some((at, from + 1));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TenantId;

    #[test]
    fn a_star_stands_for_any_number_of_characters() {
        for (pattern, text, fits) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("delete_*", "delete_all", true),
            ("delete_*", "undelete_all", false),
            ("*_all", "delete_all", true),
            ("a*b*c", "aXbXbc", true),
            ("a*b*c", "acb", false),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn a_restriction_admits_roles_from_its_own_up_and_the_subjects_it_names() {
        let who = |subject: &str, role| Principal::new(TenantId::default_tenant(), subject, role);
        let some = Restriction {
            role: Some(Role::Manager),
            subjects: vec!["key:*".into()],
            ..Restriction::default()
        };
        assert!(some.admits(&who("user:a", Role::Manager)) && some.admits(&who("key:1", Role::Guest)));
        assert!(!some.admits(&who("user:a", Role::Developer)));
        let nobody = Restriction::default();
        assert!(nobody.admits(&who("user:a", Role::Admin)) && !nobody.admits(&who("user:a", Role::Manager)));
    }
}
