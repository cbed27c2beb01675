//! A server that the official SDK made lives in the process, behind the gateway.

use std::sync::Arc;

use mcp_registry_gateway::{Caller, ErrorKind, Gateway, Registration, ServerConnection};
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, JsonObject, ListToolsResult,
    PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler, ServiceExt};
use serde_json::json;

struct Numbers;

impl ServerHandler for Numbers {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tool = Tool::new("double", "Doubles a number", Arc::new(JsonObject::new()));
        Ok(ListToolsResult::with_all_items(vec![tool]))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let n = request.arguments.as_ref().and_then(|arguments| arguments.get("n")?.as_i64());
        let n = n.ok_or_else(|| ErrorData::invalid_params("`n` is missing", None))?;
        Ok(CallToolResult::success(vec![ContentBlock::text((2 * n).to_string())]).into())
    }
}

async fn serve(visit: ServerConnection) {
    if let Ok(running) = Numbers.serve(visit.into_pipe()).await {
        let _ = running.waiting().await;
    }
}

#[tokio::test]
async fn a_server_of_the_official_sdk_is_called_without_a_socket() {
    let (gateway, us) = (Gateway::builder().open().await.unwrap(), Caller::local());
    let hosted = gateway.host(&us, Registration::named("numbers"), serve).await.unwrap();
    let offered = gateway.discover(&us, hosted.server().id).await.unwrap();
    assert_eq!(offered.iter().map(|item| item.name.as_str()).collect::<Vec<_>>(), ["double"]);

    let answer = gateway.call_tool(&us, "numbers__double", &json!({ "n": 21 })).await.unwrap();
    assert_eq!((answer.text().unwrap().as_str(), answer.is_error().unwrap()), ("42", false));
    let refused = gateway.call_tool(&us, "numbers__double", &json!({})).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidParams, "{refused}");
    gateway.close().await;
}
