//! The verbs for administrators of the gateway: tenants, credentials for servers, the audit trail.

use bytes::Bytes;

use super::OpenGateway;
#[cfg(feature = "oauth")]
use super::requests::{Login, LoginAnswered};
use super::requests::{SetCredential, Tenant, TenantChange, WhichCredential};
use super::verbs::{nothing, one, read, table, written};
use crate::error::Result;
#[cfg(feature = "oauth")]
use crate::gateway::{LoginAnswer, LoginWish};
use crate::views::audit::{AuditAnswer, ChainAnswer};
#[cfg(not(feature = "oauth"))]
use crate::views::credential::without_oauth;
use crate::views::credential::{CredentialList, whose};
#[cfg(feature = "oauth")]
use crate::views::credential::{CredentialView, LoginView};
use crate::views::tenant::{NewTenant, TenantList, TenantView, known};

table! {
    /// Verbs about access to the gateway and its audit trail.
    Governing
    "create_tenant" CreateTenant,
    "get_tenant" GetTenant,
    "list_tenants" ListTenants,
    "update_tenant" UpdateTenant,
    "delete_tenant" DeleteTenant,
    "set_credential" SetCredential,
    "list_credentials" ListCredentials,
    "remove_credential" RemoveCredential,
    "begin_login" BeginLogin,
    "finish_login" FinishLogin,
    "audit" Audit,
    "verify_audit" VerifyAudit,
}

impl Governing {
    pub(super) async fn perform(self, house: &OpenGateway, input: &[u8]) -> Result<Bytes> {
        let (gateway, caller) = (&house.gateway, &house.caller);
        match self {
            Self::CreateTenant => written(&read::<NewTenant>(input)?.make(gateway, caller).await?),
            Self::GetTenant => {
                let id = known(&read::<Tenant>(input)?.tenant)?;
                written(&TenantView::from(gateway.tenant(caller, &id).await?))
            }
            Self::ListTenants => {
                nothing(input)?;
                written(&TenantList::of(gateway, caller).await?)
            }
            Self::UpdateTenant => {
                let asked: TenantChange = read(input)?;
                let id = known(&asked.tenant)?;
                written(&TenantView::from(gateway.update_tenant(caller, &id, asked.changes.into()).await?))
            }
            Self::DeleteTenant => {
                written(&gateway.delete_tenant(caller, &known(&read::<Tenant>(input)?.tenant)?).await?)
            }
            Self::SetCredential => {
                let asked: SetCredential = read(input)?;
                let id = gateway.named(caller, &asked.server)?.id;
                written(&asked.credential.set(gateway, caller, id).await?)
            }
            Self::ListCredentials => {
                written(&CredentialList::of(gateway.credentials(caller, one(house, input)?)?))
            }
            Self::RemoveCredential => {
                let asked: WhichCredential = read(input)?;
                let id = gateway.named(caller, &asked.server)?.id;
                let whose = whose(asked.subject.as_deref());
                written(&gateway.remove_credential(caller, id, whose, &asked.header).await?)
            }
            #[cfg(feature = "oauth")]
            Self::BeginLogin => {
                let Login {
                    server,
                    redirect_uri,
                    subject,
                    client_id,
                    client_secret,
                    client_metadata_url,
                    scopes,
                } = read(input)?;
                let id = gateway.named(caller, &server)?.id;
                let wish = LoginWish { redirect_uri, client_id, client_secret, client_metadata_url, scopes };
                let begun = gateway.begin_login(caller, id, whose(subject.as_deref()), &wish).await?;
                written(&LoginView::from(begun))
            }
            #[cfg(feature = "oauth")]
            Self::FinishLogin => {
                let asked: LoginAnswered = read(input)?;
                let answer = LoginAnswer {
                    state: &asked.state,
                    code: &asked.code,
                    issuer: asked.iss.as_deref(),
                    redirect_uri: asked.redirect_uri.as_deref(),
                };
                written(&CredentialView::from(gateway.finish_login(&answer).await?))
            }
            #[cfg(not(feature = "oauth"))]
            Self::BeginLogin | Self::FinishLogin => Err(without_oauth()),
            Self::Audit => written(&AuditAnswer::of(gateway, caller, read(input)?).await?),
            Self::VerifyAudit => {
                nothing(input)?;
                written(&ChainAnswer::of(gateway, caller).await?)
            }
        }
    }
}
